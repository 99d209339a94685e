"""What a configuration decided about requests that came before, so that the same one is not decided again."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final

from gateway.core.decision import Permit, audit_note
from gateway.telemetry.record import Record

# How many permits are remembered, and how long a target may be: 2 MB at most.
_MOST: Final = 1024
_LONGEST: Final = 512


class Today:
    """Gives today's date in UTC, worked out once a day and the same object all day. ``clock`` is Unix time."""

    __slots__ = ("_clock", "_date", "_day")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._day = -1
        self._date = date.min

    def __call__(self) -> date:
        day = int(self._clock() // 86400)
        if day != self._day:
            self._day, self._date = day, datetime.fromtimestamp(day * 86400, UTC).date()
        return self._date


class Verdict:
    """A permit, with what the record of its requests says of it."""

    __slots__ = ("caller", "decision", "endpoint", "lane", "note", "permit", "reason")

    def __init__(self, permit: Permit) -> None:
        self.permit: Final = permit
        self.caller: Final = permit.caller
        self.endpoint: Final = permit.endpoint.name
        self.lane: Final = permit.lane.value
        self.decision: Final = "would_deny" if permit.would_deny else "allow"
        self.reason: Final = permit.reason
        self.note: Final = audit_note(permit)

    def tell(self, record: Record) -> Permit:
        """Put it on record; returns the permit."""
        record.caller, record.endpoint, record.lane = self.caller, self.endpoint, self.lane
        record.decision, record.reason, record.note = self.decision, self.reason, self.note
        return self.permit


class Verdicts:
    """Permits of one configuration, for one day, by caller, method and target as it was sent. Refusals are decided
    anew each time. The oldest makes room for a new one.
    """

    __slots__ = ("_day", "_known")

    def __init__(self) -> None:
        self._known: Final[dict[tuple[str, str, str], Verdict]] = {}
        self._day: date | None = None

    def find(self, caller: str, method: str, target: str, today: date) -> Verdict | None:
        """The verdict on an earlier request that was the same, of today."""
        return self._known.get((caller, method, target)) if today is self._day else None

    def keep(self, permit: Permit, target: str, today: date) -> Verdict:
        """Remember a permit for a request with this ``target``."""
        verdict = Verdict(permit)
        if today is not self._day:
            self._known.clear()
            self._day = today
        if len(target) <= _LONGEST:
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[permit.caller, permit.target.method, target] = verdict
        return verdict
