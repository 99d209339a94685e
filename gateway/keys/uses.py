"""When a secret was used: the last time, and how often in the last hour."""

from typing import Final

_MINUTES: Final = 60


class Uses:
    """The requests sent with one secret. ``now`` is Unix time in seconds; it may be set back while this runs."""

    __slots__ = ("_counts", "_minute", "last")

    def __init__(self) -> None:
        self.last: float | None = None
        self._counts = [0] * _MINUTES
        self._minute = 0

    def count(self, now: float) -> None:
        """Count a request that is sent now."""
        if now // 60 != self._minute:
            self._turn(now)
        self._counts[self._minute % _MINUTES] += 1
        self.last = now

    def last_hour(self, now: float) -> int:
        """Requests in this minute and the 59 before it."""
        self._turn(now)
        return sum(self._counts)

    def _turn(self, now: float) -> None:
        """Empty the cells of the minutes that have passed. A step back of the clock counts into the latest minute."""
        passed = int(now // 60) - self._minute
        if 0 <= -passed < _MINUTES:
            return
        for minute in range(self._minute + 1, self._minute + 1 + min(abs(passed), _MINUTES)):
            self._counts[minute % _MINUTES] = 0
        self._minute += passed
