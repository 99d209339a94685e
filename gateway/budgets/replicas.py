"""Other replicas that use the same count. Only the readings of that count show them.

Each answer says what all replicas have left. What is gone and was not sent here was sent by others, which says how many
they are and how fast. The others go on after the last reading, so the number it gave is assumed to shrink. Near the end
of a window, each replica would send one request more than are left. So each replica sends some of the last requests by
lot.

Where replicas report to each other (`gateway.budgets.sharing`), their number and use are known, and what one of them
keeps for a caller is for all of its requests, not only for those that it gets itself. Between two reports the others
are taken to send as much as this process does.
"""

from collections.abc import Callable
from typing import Final

# Of more replicas than this the last requests of a window are not drawn by lot any more precisely.
_MOST: Final = 16
# A report may be from before the window for so long after its first answer. Until one is of it, the others are taken to
# send as much as this process does from the beginning: else the first of them to come back takes the parts of all.
_OLDEST_REPORT: Final = 1.0
# After so few requests of this process in a window, what others used says little of how many they are.
_FEW: Final = 2


class Replicas:
    """What others use of one window. Moments are seconds of one clock; ``chance`` draws a number from 0 to 1.

    ``count`` is how many replicas like this one the others make up; 0 if there are none.
    """

    __slots__ = (
        "_base",
        "_began",
        "_chance",
        "_drawn",
        "_heard",
        "_heard_at",
        "_least",
        "_others",
        "_others_then",
        "_own",
        "_own_then",
        "_rate",
        "_read_at",
        "_remaining",
        "_used",
        "count",
    )

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance: Final = chance
        self._base = 0
        self._began = 0.0
        self._drawn = 0.0
        self._least = 0
        self._rate = 0.0
        self._read_at = 0.0
        self._remaining = 0
        self._heard = False
        self._heard_at = 0.0
        self._used: int | None = None
        self._own = self._own_then = 0
        self._others = self._others_then = 0
        self.count = 0

    def begin(self, now: float, remaining: int, sent: int) -> None:
        """The first answer of a window came when this process had sent so many that were counted."""
        self._base, self._began = remaining + sent, now
        self._least = max(0, self.count - 1)
        self._used = None
        self._own_then = self._others_then = 0
        self.read(now, remaining, sent)

    def read(self, now: float, remaining: int, sent: int, in_flight: int = 0) -> None:
        """A further answer of the window. Of those ``sent``, the upstream may not have counted those in flight."""
        others = self._base - remaining - sent
        if others <= 1 and not self.count:
            return
        if self._heard:
            self._read_at, self._remaining, self._drawn = now, remaining, self._chance()
            self._own, self._others = sent, others
            return
        if sent > _FEW and (others > 1 or others + in_flight <= 1):
            # Until that is certain, there are as many as before. A replica that gets more than the others would think
            # that they are fewer, keep less for them, and get still more: so they become fewer by one a window at most.
            self.count = max(self._least, min(_MOST, round(others / sent)) if others > 1 else 0)
        self._read_at, self._remaining = now, remaining
        if self.count:
            self._rate = max(0, others) / max(1.0, now - self._began)
            self._drawn = self._chance()

    def left(self, now: float, remaining: int, in_flight: int, limit: int, kept: int = 0) -> int:
        """How many requests this replica may send, should the others go on as they did.

        It takes its part of what is left, since the others take theirs at the same moment, and leaves what each of them
        keeps as it does itself. If an old reading showed many replicas, they may be gone by now. Then a single request
        is sent as a test.
        """
        if not self.count:
            return remaining - kept - in_flight
        replicas = self.count + 1
        spare = self._expected(now) - (kept if self._heard else kept * replicas)
        if spare > self.count:
            return max(1, int(spare / replicas)) - in_flight
        return 0 if kept or self.lost(now, limit) else min(remaining, 1) - in_flight

    def heard(self, now: float, count: int, remaining: int, sent: int, used: int | None) -> None:
        """So many others report; ``remaining`` is the least reading of all, ``used`` what they sent in this window."""
        self._heard, self.count = True, count
        self._own, self._others = sent, self._base - remaining - sent
        if used is not None or now - self._began > _OLDEST_REPORT:
            self._own_then, self._others_then = self._own, self._others
        if used is not None:
            before = used if self._used is None else self._used
            self._rate = max(0, used - before) / max(0.1, now - self._heard_at)
            self._used = used
        self._read_at = self._heard_at = now
        if remaining != self._remaining:
            self._remaining, self._drawn = remaining, self._chance()

    def unheard(self) -> None:
        """Nobody reports any more. Until the readings show otherwise there are as many as before."""
        self._heard, self._least, self._used = False, self.count, None

    def lost(self, now: float, limit: int) -> bool:
        """Whether what is left of the window is for others."""
        if not self.count or self._remaining > self._last(limit):
            return False
        expected = self._expected(now)
        return expected <= self.count and self._drawn * (self.count + 1) >= expected

    def _last(self, limit: int) -> int:
        """Of how many requests each replica takes care not to send one more than there is."""
        return max(2 * self.count, limit // 10)

    def _expected(self, now: float) -> float:
        gone = self._rate * (now - self._read_at)
        if self._heard:
            gone = max(gone, self.count * (self._own - self._own_then) - (self._others - self._others_then))
        return self._remaining - gone
