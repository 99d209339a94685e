"""A caller's own limits: how many reads and writes a minute its policy grants it at most."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.config.store import Redis, Store
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after

if TYPE_CHECKING:
    from gateway.budgets.windows import Windows

MINUTE: Final = 60


class Caps:
    """Counts what callers with limits send: in this process, and where ``store`` is Redis, over all replicas.

    A shared count that fails, or says nothing for ``patience``, is left alone for ``rest``; the count of this process,
    which is always kept, decides meanwhile. ``on_fault`` is told the error's type. Times are seconds, ``clock`` is
    monotonic; ``window`` is the length of what is called a minute.
    """

    def __init__(
        self,
        store: Store = None,
        *,
        window: int = MINUTE,
        patience: float = 0.05,
        rest: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        on_fault: Callable[[str], None] = lambda _error: None,
    ) -> None:
        self._redis: Final = store if isinstance(store, Redis) else None
        self._window: Final = window
        self._patience: Final = patience
        self._rest: Final = rest
        self._clock: Final = clock
        self._on_fault: Final = on_fault
        self._here: Windows | None = None
        self._shared: Windows | None = None
        self._resume = float("-inf")
        self._questions: Final[set[asyncio.Task[float]]] = set()

    @property
    def is_shared(self) -> bool:
        """Whether replicas count together."""
        return self._redis is not None

    def prepare(self) -> None:
        """Import what counting takes; it blocks. Without it, the first request of a caller with limits does."""
        import gateway.budgets.windows  # noqa: F401

        if self.is_shared:
            import redis.asyncio  # noqa: F401

    async def spend(self, policy: Policy, lane: Lane) -> None:
        """Count a request of a lane in which the policy has a cap. Raises `Refused` ``rate_limited`` past it."""
        most = policy.cap(lane)
        if most is None:
            return
        kind = "read" if lane is Lane.READ else "write"
        here = self._here or self._open()
        seconds = await self._ask(policy.caller, kind, most)
        if seconds is None:
            seconds = await here.spend(policy.caller, kind, most, self._window)
        elif not seconds:
            # So that this count knows of it should the shared one fail.
            await here.spend(policy.caller, kind, most, self._window)
        if seconds:
            raise _refused(policy, f"{kind}s_per_minute", most, seconds)

    async def close(self) -> None:
        """Give up what is being asked, and close connections."""
        for question in self._questions:
            question.cancel()
        if self._questions:
            await asyncio.wait(self._questions)
        if self._shared is not None:
            await self._shared.close()

    def _open(self) -> "Windows":
        from gateway.budgets.windows import Windows

        if self._redis is not None:
            self._shared = Windows.shared(self._redis, self._patience)
        self._here = Windows.here(self._clock)
        return self._here

    async def _ask(self, caller: str, kind: str, most: int) -> float | None:
        """What the shared count says; None where there is none, or none that answers."""
        if self._shared is None or self._clock() < self._resume:
            return None
        question = asyncio.create_task(self._shared.spend(caller, kind, most, self._window))
        self._questions.add(question)
        question.add_done_callback(self._answered)
        try:
            # `wait_for` would go on waiting for a client that does not heed its cancellation.
            await asyncio.wait({question}, timeout=self._patience)
        finally:
            question.cancel()
        if question.done() and not question.cancelled() and question.exception() is None:
            return question.result()
        self._resume = self._clock() + self._rest
        failed = question.done() and not question.cancelled()
        self._on_fault(type(question.exception()).__name__ if failed else "TimeoutError")
        return None

    def _answered(self, question: "asyncio.Task[float]") -> None:
        self._questions.discard(question)
        if not question.cancelled():
            question.exception()  # seen here, or asyncio would report a late one as never retrieved


def _refused(policy: Policy, setting: str, most: int, seconds: float) -> Refused:
    return Refused(
        Code.RATE_LIMITED,
        Reason.LIMIT,
        f"Caller `{policy.caller}` may send {most} requests of this kind a minute.",
        note=f"policy {policy.caller}: `limits.{setting}: {most}` is used up",
        fix=f"send less, or raise `limits.{setting}` in policy `{policy.caller}`",
        decided_by=f"policy {policy.caller}, limits.{setting}: {most}",
        details={"limit": most, "window": "1m"},
        headers=(retry_after(seconds),),
    )
