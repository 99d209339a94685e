"""A caller's own limits: how many reads and writes a minute its policy grants it at most.

They are counted by a few lines here. The `limits` library was left out: its storage in memory starts a task for each
request, and what remains of it, one script for Redis, is shorter than what adapted it and costs no 30 ms at the start.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.aio.best_effort import BestEffort, CallFailed, Resting
from gateway.budgets.fields import limit_fields, with_budgets
from gateway.budgets.moving_window import MovingWindows, Room
from gateway.config.store import Redis, Store
from gateway.core.catalog import Lane
from gateway.core.limits import Limit
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import LimitsStoreFault

if TYPE_CHECKING:
    from gateway.budgets.shared_window import SharedWindow

MINUTE: Final = 60.0


class Caps:
    """Counts what callers with limits send: in this process, and where ``store`` is Redis, over all replicas.

    A shared count that fails, says nothing for ``patience`` or says what cannot be true is left alone for ``rest``; the
    count of this process, which is always kept, decides meanwhile. Times are seconds, ``clock`` is monotonic, and
    ``window`` is the length of what is called a minute.
    """

    def __init__(
        self,
        store: Store = None,
        *,
        window: float = MINUTE,
        patience: float = 0.05,
        rest: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        emit: Emit = ignore,
    ) -> None:
        self._redis: Final = store if isinstance(store, Redis) else None
        self._window: Final = window
        self._patience: Final = patience
        self._emit: Final = emit
        self._here: Final = MovingWindows(clock)
        self._shared: SharedWindow | None = None
        self._calls: Final = BestEffort(timeout=patience, rest=rest, clock=clock)

    def prepare(self) -> None:
        """Import what a shared count takes; it blocks. Without it, the first request of a caller with limits does."""
        if self._redis is not None:
            import gateway.budgets.shared_window  # noqa: F401

    async def spend(self, policy: Policy, lane: Lane, budget: bytes = b"") -> bytes:
        """Count a request of a lane in which the policy has a cap. Raises `Refused` ``rate_limited`` past it.

        Returns lines of a head that report the cap to its caller (see `gateway.budgets.fields`); none without a cap.
        A refusal has those of its ``budget`` too.
        """
        most = policy.cap(lane)
        if most is None:
            return b""
        kind = "read" if lane is Lane.READ else "write"
        key = f"{policy.caller}:{kind}"
        room = await self._ask(key, most) if self._redis is not None else None
        if room is None or not room.wait:
            # Also where the shared count let it through, so that this one knows of it should that one fail.
            here = self._here.spend(key, most, self._window)
            room = room or here
        lines = limit_fields("limits", policy.caller, most, room.left, room.more_in)
        if room.wait:
            raise _refused(policy, f"{kind}s_per_minute", most, room.wait, lines, budget)
        return lines

    async def close(self) -> None:
        """Give up what is being asked, and close connections."""
        await self._calls.close()
        if self._shared is not None:
            await self._shared.close()

    async def _ask(self, key: str, most: int) -> Room | None:
        """What the shared count says; None where none answers."""
        shared = self._shared or self._open()
        try:
            return await self._calls.call(lambda: shared.spend(key, most, self._window))
        except Resting:
            return None
        except CallFailed as failed:
            self._emit(LimitsStoreFault("TimeoutError" if failed.timed_out else failed.reason))
            return None

    def _open(self) -> "SharedWindow":
        from gateway.budgets.shared_window import SharedWindow

        assert self._redis is not None  # noqa: S101 - `spend` asks only then
        self._shared = SharedWindow(self._redis, self._patience)
        return self._shared


def _refused(policy: Policy, setting: str, most: int, seconds: float, *lines: bytes) -> Refused:
    return Refused(
        Code.RATE_LIMITED,
        Reason.LIMIT,
        f"Caller `{policy.caller}` may send {most} {setting.partition('_')[0]} a minute, which it has done.",
        note=f"policy {policy.caller}: `limits.{setting}: {most}` is used up",
        fix=f"send it again in {math.ceil(seconds)} s, or raise `limits.{setting}` in policy `{policy.caller}`",
        decided_by=f"policy {policy.caller}, limits.{setting}: {most}",
        details={
            "limit": most,
            "window": "1m",
            "budget": f"limits.{setting}",
            "caller": policy.caller,
            "retry_after": math.ceil(seconds),
        },
        headers=with_budgets((retry_after(seconds),), *lines),
        limit=Limit.REQUESTS_PER_MINUTE,
    )
