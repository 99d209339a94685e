"""Those who wait for the same counts of one secret, and the lease that each of them gets."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, TypeAlias

from gateway.budgets.claims import Claim, RateBudget
from gateway.budgets.fields import rate_limit_fields
from gateway.budgets.queue import FairQueue
from gateway.budgets.shares import Flow
from gateway.core.budget import read_budget
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.retry_after import read_retry_after

# What a 429 without a Retry-After is taken for; Productlane's always has one.
_BREATH: Final = 1.0
# How often those who wait for others to use less are looked at again.
_LOOK: Final = 0.1


class Ended(Enum):
    """Why a request stopped waiting without a lease."""

    IN_VAIN = "in_vain"
    PUSHED_OUT = "pushed_out"


Turn: TypeAlias = "asyncio.Future[Lease | Ended]"


class Waiter:
    """One request that waits until ``deadline``, a moment of the monotonic clock."""

    __slots__ = ("claim", "deadline", "turn")

    def __init__(self, claim: "Lease", deadline: float, turn: Turn) -> None:
        self.claim: Final = claim
        self.deadline: Final = deadline
        self.turn: Final = turn

    @property
    def flow(self) -> Flow:
        """By which its place in the queue is reckoned."""
        return self.claim.last.flow


class Pool:
    """The budget of one secret in the lanes that share the count of the first: reads, or writes and uploads.

    ``clock`` is monotonic, in seconds.
    """

    __slots__ = (
        "_epoch",
        "_timer",
        "_vain_until",
        "budget",
        "clock",
        "key",
        "lanes",
        "queue",
        "used_at",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        budget: RateBudget,
        lanes: tuple[Lane, ...],
        key: str,
    ) -> None:
        self.clock: Final = clock
        self._timer: asyncio.TimerHandle | None = None
        self._epoch = 0
        self._vain_until: Final = dict.fromkeys(lanes, -math.inf)
        self.budget: Final = budget
        self.lanes: Final = lanes
        self.key: Final = key
        self.used_at = -math.inf
        self.queue: Final[FairQueue[Waiter]] = FairQueue()

    def serve(self) -> None:
        """Give what there is to those who are next, send away who waits in vain, and look again when there is more."""
        if not self.queue:
            return
        now = self.clock()
        while lanes := [lane for lane in self.lanes if self.queue.waiting(lane) and self.budget.left(lane, now) > 0]:
            self._follow_window()
            waiter = self.queue.head(lanes)
            if waiter is None or not waiter.claim.take(now):
                break
            self._end(waiter, waiter.claim)
        self._end_vain(now)
        self._look_again(now)

    def push_out(self, flow: Flow, most: int) -> bool:
        """Make room for one request more of a caller where the queue is full. The longest line loses its newest.

        False where that line is the caller's own.
        """
        if len(self.queue) < most:
            return True
        newest = self.queue.newest_of_longest()
        if newest is None or (flow.waiting + 1) / flow.weight > newest.flow.waiting / newest.flow.weight:
            return False
        self._end(newest, Ended.PUSHED_OUT)
        return True

    def leave(self, waiter: Waiter) -> None:
        """A request no longer waits; without effect where it has had its turn."""
        self.queue.remove(waiter.flow, waiter.claim.lane, waiter)

    def _end(self, waiter: Waiter, outcome: "Lease | Ended") -> None:
        self.leave(waiter)
        waiter.turn.set_result(outcome)

    def _follow_window(self) -> None:
        """In a new window nobody has used anything."""
        epoch = self.budget.windows[self.lanes[0]].epoch
        if epoch != self._epoch:
            self._epoch = epoch
            self.queue.reorder()

    def _end_vain(self, now: float) -> None:
        """Tell those for whom nothing will be left in time, as soon as that is certain."""
        for lane in self.lanes:
            ready = self.budget.ready_at(lane, now) if self.queue.waiting(lane) else now
            if ready > now and ready > self._vain_until[lane]:
                self._vain_until[lane] = ready
                for waiter in [w for w in self.queue if w.claim.lane is lane and w.deadline < ready]:
                    self._end(waiter, Ended.IN_VAIN)
        while (newest := self.queue.newest_of_longest(lambda flow: flow.waiting)) is not None:
            if newest.claim.in_time(newest.deadline, newest.flow.waiting - 1, now):
                break
            self._end(newest, Ended.IN_VAIN)

    def _look_again(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        later = min(self._moments(now), default=math.inf)
        if later < math.inf:
            # A loop's timer may be a little early by the clock that is handed in.
            self._timer = asyncio.get_running_loop().call_later(max(later - now, 0.001), self.serve)

    def _moments(self, now: float) -> Iterator[float]:
        """When there may be more for those who wait without an answer that says so."""
        for lane in self.lanes:
            if self.queue.waiting(lane):
                ready = self.budget.ready_at(lane, now)
                yield ready if ready > now else now + _LOOK


class Lease(Claim):
    """A claim that its pool gives budget to. Then one of `answered`, `failed` and `released` is called, once."""

    __slots__ = ("_pool", "_was_sent")

    def __init__(self, pool: Pool, lane: Lane, policy: Policy, now: float) -> None:
        # Not by the parent's, nor by `RateBudget.claim`: every request makes one.
        caller, weight, window = policy.caller, policy.weight, pool.budget.windows[lane]
        self.lane = lane
        self.window = window
        self.flow = window.shares.flow(caller, weight, now)
        self.also = pool.budget.claim(Lane.WRITE, caller, weight, now) if lane is Lane.UPLOAD else None
        self.epoch = -1
        self._pool = pool
        self._was_sent = False

    def sent(self) -> None:
        """The request is about to be sent, for the first time or once more."""
        self._was_sent = True

    def answered(self, status: int, fields: Mapping[bytes, Sequence[bytes]]) -> bytes:
        """The head of the answer has come. ``fields`` are its values by names in lower case.

        Returns the header fields that report the caller's share to it; see `rate_limit_fields`.
        """
        pool = self._pool
        now = pool.clock()
        reading, remaining = read_budget(fields)
        self.settle(now, reading, remaining)
        if status == 429:
            told = fields.get(b"retry-after", (b"",))[0]
            wait = read_retry_after({"Retry-After": told.decode("latin-1")})
            self.block(now, _BREATH if wait is None else wait, empty=reading is not None and not remaining)
        if pool.queue.length:
            pool.serve()
        return rate_limit_fields(self, now)

    def failed(self) -> None:
        """No answer came. A request that was sent, perhaps in part, may have been counted upstream."""
        if not self._was_sent:
            self.released()
            return
        self.settle(self._pool.clock())
        self._pool.serve()

    def released(self) -> None:
        """The request was not sent."""
        self.release()
        self._pool.serve()
