"""Replicas share what their callers use and want, through a Redis or Valkey, so that a share is one of all replicas.

Once a second each replica writes its report into one hash, and reads those of the others: one round trip, on which no
request waits. While the Redis does not answer, replicas go by the answers of the upstream alone (see
`gateway.budgets.replicas`), from what they knew last.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.aio.best_effort import BestEffort, CallFailed, Resting
from gateway.budgets.pacing import Pacer
from gateway.budgets.reports import Report, Reports, encode
from gateway.config.store import Redis, Store
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import BudgetSharingFault

if TYPE_CHECKING:
    from redis.asyncio import Redis as Client

# Without an exchange for so long, what others reported no longer counts.
_STALE: Final = 3.0
# Every replica gone, the hash goes after this time.
_EXPIRES_MS: Final = 600_000


class Sharing:
    """Shares the budgets of one process. ``clock`` is monotonic seconds; ``instance`` names the process.

    An exchange that fails, or takes ``patience``, is reported once until one succeeds.
    """

    def __init__(
        self,
        store: Store,
        pacer: Pacer,
        *,
        every: float = 1.0,
        patience: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        emit: Emit = ignore,
    ) -> None:
        self._redis: Final = store if isinstance(store, Redis) else None
        self._pacer: Final = pacer
        self._every: Final = every
        self._patience: Final = patience
        self._clock: Final = clock
        self._emit: Final = emit
        self._own: Final = os.urandom(8).hex().encode()
        self._name: Final = "" if self._redis is None else f"{self._redis.prefix}:budgets"
        self._reports: Final = Reports()
        self._calls: Final = BestEffort(timeout=patience, rest=every, clock=clock)
        self._client: Client | None = None
        self._number = 0
        self._wrote = False
        self._failing = False
        self._heard_at = clock()

    async def run(self) -> None:
        """Exchange reports until cancelled; without a Redis there is nobody to exchange them with."""
        while self._redis is not None:
            await asyncio.sleep(self._every)
            await self.exchange()

    async def exchange(self) -> None:
        """Write the report of this process, read the others, and go by them. Nobody asks and nobody did: do nothing."""
        counts = self._pacer.report()
        if not counts and not self._wrote:
            self._pacer.unheard()
            return
        self._number += 1
        client = self._client or await self._open()
        report = Report(self._number, counts) if counts else None
        try:
            stored = await self._calls.call(lambda: self._ask(client, report))
        except Resting:
            self._unheard()
            return
        except CallFailed as failed:
            if not self._failing:
                self._failing = True
                self._emit(BudgetSharingFault("TimeoutError" if failed.timed_out else failed.reason))
            self._unheard()
            return
        self._failing, self._wrote, self._heard_at = False, bool(counts), self._clock()
        alive, dead = self._reports.read(stored, self._own, self._heard_at)
        self._pacer.heard([report.counts for report in alive])
        if dead:
            await self._forget(dead)

    async def close(self) -> None:
        """Take back the report, so that the others know at once, and close connections."""
        if self._client is not None:
            if self._wrote and not self._failing:
                await self._forget([self._own])
            await self._calls.close()
            await self._client.aclose()

    def _unheard(self) -> None:
        if self._clock() - self._heard_at > _STALE:
            self._pacer.unheard()

    async def _forget(self, names: list[bytes]) -> None:
        client = self._client
        assert client is not None  # noqa: S101 - only what was read is forgotten
        try:
            await self._calls.call(lambda: client.hdel(self._name, *names))
        except (Resting, CallFailed):
            return

    async def _ask(self, client: "Client", report: Report | None) -> dict[bytes, bytes]:
        async with client.pipeline(transaction=False) as pipe:
            if report is None:
                pipe.hdel(self._name, self._own)
            else:
                pipe.hset(self._name, self._own, encode(report))
                pipe.pexpire(self._name, _EXPIRES_MS)
            pipe.hgetall(self._name)
            answers: list[Any] = await pipe.execute()
        stored: dict[bytes, bytes] = answers[-1]
        return stored

    async def _open(self) -> "Client":
        assert self._redis is not None  # noqa: S101 - `run` exchanges only then
        self._client = await asyncio.to_thread(_client, self._redis, self._patience)
        return self._client


def _client(redis: Redis, patience: float) -> "Client":
    """A client. Importing it takes 115 ms, which the loop does not wait for."""
    from gateway.budgets.redis_client import client

    return client(redis, patience)
