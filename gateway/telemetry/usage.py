"""What each caller used: the ground for granting it less."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from gateway.telemetry.labels import NONE, OTHER
from gateway.telemetry.record import Record

# Pairs of caller and endpoint, 250 bytes each. 5,000 callers of ten endpoints each fit.
_BOUND: Final = 50_000
_REMEMBERED: Final = 7 * 86_400.0


class Use(msgspec.Struct):
    """How often a caller was allowed, denied, or let through by audit alone; ``last`` is the Unix time of the last."""

    allowed: int = 0
    denied: int = 0
    would_deny: int = 0
    last: float = 0.0


_NONE_YET: Final[Mapping[str, Use]] = {}


class Usage:
    """Counts by caller and endpoint since the start. Beyond its bound a new pair counts as ``other`` of ``other``."""

    def __init__(self, clock: Callable[[], float] = time.time, *, bound: int = _BOUND) -> None:
        self._clock = clock
        self._bound = bound
        self._pairs = 0
        self._uses: dict[str, dict[str, Use]] = {}

    def count(self, record: Record) -> None:
        """Count a finished request about which a policy decided; others are passed over."""
        if not record.decision:
            return
        use = self._uses.get(record.caller, _NONE_YET).get(record.endpoint)
        if use is None:
            use = self._begin(record.caller, record.endpoint)
        if record.decision == "allow":
            use.allowed += 1
        elif record.decision == "would_deny":
            use.would_deny += 1
        else:
            use.denied += 1
        use.last = self._clock()

    def prune(self, callers: Collection[str]) -> None:
        """Forget what others than these callers used, where the last of it is a week ago.

        So what a caller used can be seen for a while after its policy is gone, and names do not gather for ever.
        """
        oldest = self._clock() - _REMEMBERED
        for caller in [caller for caller in self._uses if caller not in callers and caller not in (NONE, OTHER)]:
            uses = self._uses[caller]
            if all(use.last < oldest for use in uses.values()):
                del self._uses[caller]
                self._pairs -= len(uses)

    def of(self, caller: str) -> Mapping[str, Use]:
        """What a caller used, by endpoint name."""
        return self._uses.get(caller, {})

    @property
    def callers(self) -> tuple[str, ...]:
        """Every caller that something was counted for, ``-`` and ``other`` included."""
        return tuple(self._uses)

    def _begin(self, caller: str, endpoint: str) -> Use:
        if self._pairs >= self._bound:
            caller = endpoint = OTHER
        uses = self._uses.setdefault(caller, {})
        if endpoint not in uses:
            uses[endpoint] = Use()
            self._pairs += 1
        return uses[endpoint]
