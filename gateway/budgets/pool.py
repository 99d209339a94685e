"""Those who wait for the same counts of one secret, and the lease that each of them gets."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, TypeAlias

from gateway.budgets.claims import Claim, RateBudget
from gateway.budgets.fields import rate_limit_fields
from gateway.budgets.queue import FairQueue
from gateway.budgets.rates import RateWindow
from gateway.budgets.shares import Flow
from gateway.core.budget import Budget
from gateway.core.catalog import Lane
from gateway.core.http_date import http_date
from gateway.core.policy import Policy
from gateway.core.retry_after import read_retry_after

# What a 429 without a Retry-After is taken for; Productlane's always has one.
_BREATH: Final = 1.0
# How often those who wait for others to use less are looked at again.
_LOOK: Final = 0.1


class Clocks:
    """The clocks that all pools go by: monotonic and Unix seconds."""

    __slots__ = ("clock", "wall")

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.clock: Final = clock
        self.wall: Final = wall


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
        """By which its place in the queue is reckoned. Uploads and other writes share the count of writes."""
        return self.claim.flows[-1]


class Pool:
    """The budget of one secret in the lanes that share a count: reads, or writes together with uploads."""

    __slots__ = (
        "_epoch",
        "_timer",
        "_vain_until",
        "budget",
        "clocks",
        "key",
        "lanes",
        "queue",
        "used_at",
    )

    def __init__(
        self,
        clocks: Clocks,
        budget: RateBudget,
        lanes: tuple[Lane, ...],
        key: str,
    ) -> None:
        self.clocks: Final = clocks
        self._timer: asyncio.TimerHandle | None = None
        self._epoch = 0
        self._vain_until: Final = dict.fromkeys(lanes, -math.inf)
        self.budget: Final = budget
        self.lanes: Final = lanes
        self.key: Final = key
        self.used_at = -math.inf
        self.queue: Final[FairQueue[Waiter]] = FairQueue()

    @property
    def now(self) -> float:
        """The moment, by the monotonic clock."""
        return self.clocks.clock()

    def lease(self, lane: Lane, policy: Policy, now: float) -> "Lease":
        """A request of a caller in a lane, which holds nothing yet."""
        windows = self.budget.counts[lane]
        caller, weight = policy.caller, policy.weight
        flow = windows[0].shares.flow(caller, weight, now)
        flows = (flow,) if len(windows) == 1 else (flow, windows[1].shares.flow(caller, weight, now))
        return Lease(self, lane, windows, flows)

    def seconds_to(self, reset: int, date: Sequence[bytes] | None) -> float:
        """The seconds from an answer's date to a reset that it names; from now, by this host's clock, without a date.

        Both are of the upstream's clock, so ours may be wrong by any amount.
        """
        sent = http_date(date[0].decode("latin-1")) if date else None
        return reset - (self.clocks.wall() if sent is None else sent)

    def serve(self) -> None:
        """Give what there is to those who are next, send away who waits in vain, and look again when there is more."""
        if not self.queue:
            return
        now = self.now
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
        epoch = self.budget.epoch(self.lanes[0])
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

    __slots__ = ("_now", "_pool", "_was_sent")

    def __init__(self, pool: Pool, lane: Lane, windows: tuple[RateWindow, ...], flows: tuple[Flow, ...]) -> None:
        # One call less than by the parent's.
        self.lane = lane
        self.windows = windows
        self.flows = flows
        self._epochs = ()
        self._pool = pool
        self._was_sent = False
        self._now = 0.0

    def sent(self) -> None:
        """The request is about to be sent, for the first time or once more."""
        self._was_sent = True

    def answered(self, status: int, fields: Mapping[bytes, Sequence[bytes]]) -> None:
        """The head of the answer has come. ``fields`` are its values by names in lower case."""
        pool = self._pool
        now = self._now = pool.clocks.clock()
        reading = Budget.read(fields)
        self.settle(now, reading, 0.0 if reading is None else pool.seconds_to(reading.reset, fields.get(b"date")))
        if status == 429:
            told = fields.get(b"retry-after", (b"",))[0]
            wait = read_retry_after({"Retry-After": told.decode("latin-1")})
            empty = reading is not None and not reading.remaining
            self.block(now, _BREATH if wait is None else wait, empty=empty)
        if pool.queue.length:
            pool.serve()

    def failed(self) -> None:
        """No answer came. A request that was sent, perhaps in part, may have been counted upstream."""
        if not self._was_sent:
            self.released()
            return
        self.settle(self._pool.now)
        self._pool.serve()

    def released(self) -> None:
        """The request was not sent."""
        self.release()
        self._pool.serve()

    def fields(self) -> bytes:
        """The header fields that report the caller's share to it, once the answer has come; see `rate_limit_fields`."""
        return rate_limit_fields(self, self._now)
