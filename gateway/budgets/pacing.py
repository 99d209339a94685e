"""Waiting for rate budget: each request takes its share of a key before it goes upstream, and says what came of it."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from gateway.budgets.claims import RateBudget
from gateway.budgets.fields import preferred_wait, rate_limit_fields, with_budgets
from gateway.budgets.pool import Ended, Lease, Pool, Turn, Waiter
from gateway.budgets.rates import WINDOW
from gateway.budgets.refusals import no_budget, queue_full
from gateway.budgets.report import budget_status
from gateway.budgets.reports import CountReport
from gateway.budgets.slow_start import PATIENCE
from gateway.config.schema.gateway import Pacing
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Refused
from gateway.core.secret import Secret
from gateway.telemetry.status import BudgetStatus

__all__ = ["KeySecret", "Lease", "Pacer"]

# Replicas come back over this many seconds after a window's end, each at a moment of its own.
_SPREAD: Final = 0.2


class KeySecret(Protocol):
    """The secret that a request is sent with, and the name of its key."""

    @property
    def key(self) -> str: ...

    @property
    def secret(self) -> Secret: ...


class Pacer:
    """Budgets by secret, which outlive a reload.

    ``clock`` is monotonic and ``wall`` Unix time, both in seconds; ``window`` is the length of what is called a
    minute, and ``chance`` draws a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        window: float = WINDOW,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock: Final = clock
        self._wall: Final = wall
        self._window: Final = window
        self._chance: Final = chance
        self._pools: Final[dict[str, dict[Lane, Pool]]] = {}

    def take(self, chosen: KeySecret, lane: Lane, policy: Policy) -> Lease | None:
        """Budget at once; None where there is none for this caller, or where others wait for it already.

        The request counts as one that the caller asks for, whatever comes of it.
        """
        pool = (self._pools.get(chosen.secret.fingerprint) or self._open(chosen))[lane]
        now = pool.used_at = self._clock()
        lease = Lease(pool, lane, policy, now)
        lease.flow.arrived(now)
        if lease.also is not None:
            lease.also.flow.arrived(now)
        return None if pool.queue.length or not lease.take(now) else lease

    async def wait(
        self, chosen: KeySecret, lane: Lane, policy: Policy, pacing: Pacing, prefer: str = "", waited: float = 0.0
    ) -> Lease:
        """Budget as soon as it is this caller's turn, for a request to which `take` gave none.

        ``prefer`` is the request's ``Prefer`` field, and ``waited`` the seconds that it has waited before. Raises
        `Refused`: ``rate_limited`` as soon as it is known that there will be none in time, ``overloaded`` where too
        many wait and most of them are this caller's.
        """
        pool = self._pool(chosen, lane)
        now = self._clock()
        claim = Lease(pool, lane, policy, now)
        longest = preferred_wait(prefer, pacing.max_wait) - waited
        if longest < PATIENCE and claim.opening(now) and not pool.queue:
            # It may not wait long enough for the first answer of a window, and there may well be budget.
            claim.force(now)
            return claim
        if not claim.in_time(now + longest, claim.last.flow.waiting, now):
            raise no_budget(claim, pool.key, policy, now)
        if not pool.push_out(claim.last.flow, pacing.max_queue):
            raise queue_full(pacing)
        outcome = await self._turn(pool, Waiter(claim, now + longest, asyncio.get_running_loop().create_future()))
        if isinstance(outcome, Lease):
            return outcome
        raise queue_full(pacing) if outcome is Ended.PUSHED_OUT else no_budget(claim, pool.key, policy, self._clock())

    def in_time(
        self, chosen: KeySecret, lane: Lane, policy: Policy, pacing: Pacing, prefer: str = "", waited: float = 0.0
    ) -> bool:
        """Whether a request may expect budget within its wait. The arguments are those of `wait`."""
        pool = self._pool(chosen, lane)
        now = self._clock()
        claim = Lease(pool, lane, policy, now)
        deadline = now + preferred_wait(prefer, pacing.max_wait) - waited
        return claim.in_time(deadline, claim.last.flow.waiting, now)

    def fields(self, chosen: KeySecret, lane: Lane, policy: Policy) -> bytes:
        """What `Lease.answered` returns, for an answer to a request that took no budget."""
        now = self._clock()
        return rate_limit_fields(Lease(self._pool(chosen, lane), lane, policy, now), now)

    def add_fields(self, refused: Refused, chosen: KeySecret, lane: Lane, policy: Policy, limits: bytes) -> None:
        """Let a refusal report the caller's share, and the ``limits`` that were counted, unless it does already."""
        refused.headers = with_budgets(refused.headers, self.fields(chosen, lane, policy), limits)

    async def _turn(self, pool: Pool, waiter: Waiter) -> Lease | Ended:
        """What becomes of a request that waits; it leaves the queue when its caller does."""
        turn: Turn = waiter.turn
        kept = False
        pool.queue.push(waiter.flow, waiter.claim.lane, waiter)
        try:
            pool.serve()
            if not turn.done():
                # Not the future itself: a caller that leaves while it is given budget has to hand it on.
                await asyncio.wait({turn}, timeout=max(0.0, waiter.deadline - self._clock()))
            kept = True
            return turn.result() if turn.done() else Ended.IN_VAIN
        finally:
            pool.leave(waiter)
            if not kept and turn.done() and isinstance(lease := turn.result(), Lease):
                lease.released()

    def _pool(self, chosen: KeySecret, lane: Lane) -> Pool:
        pools = self._pools.get(chosen.secret.fingerprint)
        return (pools or self._open(chosen))[lane]

    def _open(self, chosen: KeySecret) -> dict[Lane, Pool]:
        budget = RateBudget(length=self._window, spread=self._chance() * _SPREAD, chance=self._chance, wall=self._wall)
        reads = Pool(self._clock, budget, (Lane.READ,), chosen.key)
        writes = Pool(self._clock, budget, (Lane.WRITE, Lane.UPLOAD), chosen.key)
        pools = self._pools[chosen.secret.fingerprint] = {Lane.READ: reads, Lane.WRITE: writes, Lane.UPLOAD: writes}
        return pools

    def status(self) -> dict[tuple[str, str], BudgetStatus]:
        """Every lane that a key has been used in, by key and lane. Of several secrets, the one used last counts."""
        found: dict[tuple[str, str], BudgetStatus] = {}
        now = self._clock()
        for pools in sorted(self._pools.values(), key=lambda pools: max(pool.used_at for pool in pools.values())):
            for lane, pool in pools.items():
                before = found.get((pool.key, lane.value))
                found[pool.key, lane.value] = budget_status(pool, lane, now, before.waiting if before else 0)
        return found

    def report(self) -> dict[str, CountReport]:
        """What is to be reported to other replicas, by secret and lane; nothing where nobody asked of late."""
        now = self._clock()
        return {
            f"{name}:{lane}": count
            for name, pools in self._pools.items()
            for lane, count in pools[Lane.READ].budget.report(now)
        }

    def heard(self, reports: Sequence[Mapping[str, CountReport]]) -> None:
        """What the other replicas that are alive report."""
        now = self._clock()
        for name, pools in self._pools.items():
            for lane, window in pools[Lane.READ].budget.windows.items():
                window.heard(now, [counts[at] for counts in reports if (at := f"{name}:{lane}") in counts])
            self._follow(pools)

    def unheard(self) -> None:
        """No replica reports any more, so that each goes by the upstream's answers alone."""
        for pools in self._pools.values():
            for window in pools[Lane.READ].budget.windows.values():
                window.shares.heard([], [], self._clock())
                window.replicas.unheard()
            self._follow(pools)

    def _follow(self, pools: Mapping[Lane, Pool]) -> None:
        """Levels have changed: other requests may be next, and some of them now."""
        for pool in {pools[Lane.READ], pools[Lane.WRITE]}:
            if pool.queue.length:
                pool.queue.reorder()
                pool.serve()

    def keep(self, secrets: Iterable[Secret]) -> None:
        """Forget the budgets of other secrets, but those that somebody waits for."""
        known = {secret.fingerprint for secret in secrets}
        for name in [name for name, pools in self._pools.items() if name not in known]:
            if not any(pool.queue for pool in self._pools[name].values()):
                del self._pools[name]
