"""Waiting for rate budget: each request takes its share of a key before it goes upstream, and says what came of it."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

from gateway.budgets.queue import FairQueue
from gateway.budgets.rates import RateBudget
from gateway.config.schema.gateway import Pacing
from gateway.core.budget import Budget
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import read_retry_after, retry_after
from gateway.core.secret import Secret

Waiter: TypeAlias = "tuple[Lane, asyncio.Future[Lease]]"

# What a 429 without a Retry-After is taken for; Productlane's always has one.
_BREATH: Final = 1.0


class KeySecret(Protocol):
    """The secret that a request is sent with, and the name of its key."""

    @property
    def key(self) -> str: ...

    @property
    def secret(self) -> Secret: ...


class Lease:
    """Budget that one request holds. Exactly one of its methods but `sent` is called, once."""

    __slots__ = ("_clocks", "_lane", "_pool", "_was_sent")

    def __init__(self, clocks: "_Clocks", pool: "_Pool", lane: Lane) -> None:
        self._clocks = clocks
        self._pool = pool
        self._lane = lane
        self._was_sent = False

    def sent(self) -> None:
        """The request is about to be sent, for the first time or once more."""
        self._was_sent = True

    def answered(self, status: int, reading: Budget | None, headers: Mapping[str, str]) -> None:
        """The head of the answer has come. ``headers`` must be a mapping that does not mind the case of names."""
        clocks, budget, now = self._clocks, self._pool.budget, self._clocks.clock()
        budget.settle(self._lane, now, reading, 0.0 if reading is None else reading.reset - clocks.wall())
        if status == 429:
            seconds = read_retry_after(headers)
            budget.block(self._lane, now, _BREATH if seconds is None else seconds)
        self._pool.serve()

    def failed(self) -> None:
        """No answer came. A request that was sent, perhaps in part, may have been counted upstream."""
        if not self._was_sent:
            self.released()
            return
        self._pool.budget.settle(self._lane, self._clocks.clock())
        self._pool.serve()

    def released(self) -> None:
        """The request was not sent."""
        self._pool.budget.release(self._lane)
        self._pool.serve()


class _Clocks:
    """The clocks that all pools go by: monotonic and Unix seconds."""

    __slots__ = ("clock", "wall")

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self.clock = clock
        self.wall = wall


class _Pool:
    """Those who wait for the same counts of one secret: reads, or writes together with uploads."""

    __slots__ = ("_clocks", "_timer", "budget", "key", "lanes", "queue")

    def __init__(self, clocks: _Clocks, budget: RateBudget, lanes: tuple[Lane, ...], key: str) -> None:
        self._clocks = clocks
        self._timer: asyncio.TimerHandle | None = None
        self.budget = budget
        self.lanes = lanes
        self.key = key
        self.queue: FairQueue[Waiter] = FairQueue()

    def serve(self) -> None:
        """Give what budget there is to those who are next, and look again when there is more."""
        if not self.queue:
            return
        now = self._clocks.clock()
        while ready := [lane for lane in self.lanes if self.queue.waiting(lane) and self.budget.left(lane, now) > 0]:
            lane, turn = self._next(ready)
            self.budget.take(lane, now)
            turn.set_result(Lease(self._clocks, self, lane))
        self._look_again(now)

    def _next(self, ready: list[Lane]) -> Waiter:
        found = self.queue.pop(ready)
        assert found is not None  # noqa: S101 - one of these lanes has something waiting
        return found

    def _look_again(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Where what is in flight holds the last of a count, its end brings more all the same.
        later = min(
            (
                at
                for lane in self.lanes
                if self.queue.waiting(lane)
                for at in (self.budget.ready_at(lane, now), self.budget.renewed_at(lane, now))
                if at > now
            ),
            default=math.inf,
        )
        if later < math.inf:
            # A loop's timer may be a little early by the clock that is handed in.
            seconds = max(later - now, 0.001)
            self._timer = asyncio.get_running_loop().call_later(seconds, self.serve)


class Pacer:
    """Budgets by secret, which outlive a reload. ``clock`` is monotonic and ``wall`` Unix time, both in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clocks: Final = _Clocks(clock, wall)
        self._pools: Final[dict[str, dict[Lane, _Pool]]] = {}
        self._waiting = 0

    def take(self, chosen: KeySecret, lane: Lane, policy: Policy) -> Lease | None:  # noqa: ARG002 - shares are to come
        """Budget at once; None where there is none, or where others wait for it already."""
        pools = self._pools.get(chosen.secret.fingerprint)
        pool = (pools or self._open(chosen))[lane]
        if pool.queue or not pool.budget.take(lane, self._clocks.clock()):
            return None
        return Lease(self._clocks, pool, lane)

    async def wait(self, chosen: KeySecret, lane: Lane, policy: Policy, pacing: Pacing) -> Lease:
        """Budget as soon as it is this caller's turn.

        Raises `Refused`: ``rate_limited`` where there is none within ``max_wait``, at once where that is known already;
        ``overloaded`` where too many wait.
        """
        pool = (self._pools.get(chosen.secret.fingerprint) or self._open(chosen))[lane]
        now = self._clocks.clock()
        if pacing.max_wait <= 0 or pool.budget.ready_at(lane, now) > now + pacing.max_wait:
            raise self._spent(pool, chosen, lane, pacing)
        if self._waiting >= pacing.max_queue:
            raise _too_many(pacing)
        turn: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        lease: Lease | None = None
        self._waiting += 1
        pool.queue.push(policy.caller, policy.weight, lane, (lane, turn))
        try:
            pool.serve()
            if not turn.done():
                # Not the future itself: whoever is cancelled while being given budget has to hand it on.
                await asyncio.wait({turn}, timeout=pacing.max_wait)
            lease = turn.result() if turn.done() else None
        finally:
            self._waiting -= 1
            pool.queue.remove(policy.caller, lane, (lane, turn))
            if lease is None and turn.done():
                turn.result().released()
        if lease is None:
            raise self._spent(pool, chosen, lane, pacing)
        return lease

    def waiting(self) -> list[tuple[str, str, int]]:
        """How many requests wait, by key and lane. Every lane that a key has been used in is told, with 0 too."""
        found: dict[tuple[str, str], int] = {}
        for pools in self._pools.values():
            for lane, pool in pools.items():
                at = pool.key, lane.value
                found[at] = found.get(at, 0) + pool.queue.waiting(lane)
        return [(key, lane, count) for (key, lane), count in found.items()]

    def keep(self, secrets: Iterable[Secret]) -> None:
        """Forget the budgets of other secrets, but those that somebody waits for."""
        known = {secret.fingerprint for secret in secrets}
        for name in [name for name, pools in self._pools.items() if name not in known]:
            if not any(pool.queue for pool in self._pools[name].values()):
                del self._pools[name]

    def _open(self, chosen: KeySecret) -> dict[Lane, _Pool]:
        budget = RateBudget()
        reads = _Pool(self._clocks, budget, (Lane.READ,), chosen.key)
        writes = _Pool(self._clocks, budget, (Lane.WRITE, Lane.UPLOAD), chosen.key)
        pools = self._pools[chosen.secret.fingerprint] = {Lane.READ: reads, Lane.WRITE: writes, Lane.UPLOAD: writes}
        return pools

    def _spent(self, pool: _Pool, chosen: KeySecret, lane: Lane, pacing: Pacing) -> Refused:
        now = self._clocks.clock()
        limit = pool.budget.limit(lane, now)
        seconds = pool.budget.ready_at(lane, now) - now
        return Refused(
            Code.RATE_LIMITED,
            Reason.BUDGET,
            f"Productlane grants {limit} requests of this kind a minute, and they are used up.",
            note=f"key {chosen.key}: no budget in lane {lane} within `pacing.max_wait`, {pacing.max_wait:g} s; give "
            "callers keys of their own, or ask Productlane for a higher limit",
            details={"limit": limit, "window": "1m"},
            headers=(retry_after(seconds),),
        )


def _too_many(pacing: Pacing) -> Refused:
    return Refused(
        Code.OVERLOADED,
        Reason.LOAD,
        "Too many requests are waiting for rate budget.",
        note=f"`pacing.max_queue` lets {pacing.max_queue} requests wait",
        headers=(retry_after(1),),
    )
