"""Other replicas that use the same count, as its readings show them: nobody else tells of them.

Each answer says what all replicas have left. What is gone and was not sent here was sent by others, which says how
many they are and how fast. They go on after the last reading, so what it told is taken to become less; and of the last
requests of a window, of which each replica would send one more than there is, each sends some by lot.
"""

from collections.abc import Callable
from typing import Final

# Of more replicas than this the last requests of a window are not drawn by lot any more precisely.
_MOST: Final = 16


class Replicas:
    """What others use of one window. Moments are seconds of one clock; ``chance`` draws a number from 0 to 1.

    ``count`` is how many replicas like this one the others make up; 0 where there are none.
    """

    __slots__ = ("_base", "_began", "_chance", "_drawn", "_rate", "_read_at", "_remaining", "count")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance: Final = chance
        self._base = 0
        self._began = 0.0
        self._drawn = 0.0
        self._rate = 0.0
        self._read_at = 0.0
        self._remaining = 0
        self.count = 0

    def begin(self, now: float, remaining: int, sent: int) -> None:
        """The first answer of a window came when this process had sent so many that were counted."""
        self._base, self._began = remaining + sent, now
        self.read(now, remaining, sent)

    def read(self, now: float, remaining: int, sent: int) -> None:
        """A further answer of the window; ``sent`` may count requests that the upstream has not."""
        others = self._base - remaining - sent
        if sent > 1:
            # Until then, there are as many as in the last window.
            self.count = min(_MOST, round(others / sent)) if others > 1 else 0
        self._read_at, self._remaining = now, remaining
        if self.count:
            self._rate = others / max(1.0, now - self._began)
            self._drawn = self._chance()

    def left(self, now: float, remaining: int, in_flight: int, limit: int, kept: int = 0) -> int:
        """How many requests this replica may send, should the others go on as they did.

        It takes its part of what is left, since the others take theirs at the same moment, and leaves what each of them
        keeps as it does itself. Where an old reading told of many and they may be gone by now, one request goes alone
        to see.
        """
        if not self.count:
            return remaining - kept - in_flight
        replicas = self.count + 1
        spare = self._expected(now) - kept * replicas
        if spare > self.count:
            return max(1, int(spare / replicas)) - in_flight
        return 0 if kept or self.lost(now, limit) else min(remaining, 1) - in_flight

    def lost(self, now: float, limit: int) -> bool:
        """Whether what is left of the window is for others."""
        if not self.count or self._remaining > max(2 * self.count, limit // 10):
            return False
        expected = self._expected(now)
        return expected <= self.count and self._drawn * (self.count + 1) >= expected

    def _expected(self, now: float) -> float:
        return self._remaining - self._rate * (now - self._read_at)
