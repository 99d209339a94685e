"""What a key may still spend of each of Productlane's counts. Moments are readings of one clock, in seconds."""

from collections.abc import Mapping
from typing import Final

from gateway.core.budget import Budget
from gateway.core.catalog import Lane

# The vendor's page on rate limits, for a key of which no answer has been seen yet: requests a minute.
DEFAULTS: Final[Mapping[Lane, int]] = {Lane.READ: 1000, Lane.WRITE: 60, Lane.UPLOAD: 30}
WINDOW: Final = 60.0
# A day: the longest that the vendor counts is 500 uploads a day, so no honest Retry-After is longer.
LONGEST_BLOCK: Final = 86_400.0


class RateWindow:
    """What a key may still spend of one count of Productlane's. Moments are readings of one clock, in seconds.

    What the last answer left is shared truth, since every replica's requests are in it; what this process has in flight
    comes off it, because nobody knows whether the upstream has counted that yet. Past the end of a count the whole
    limit is there again. ``ends`` is the end of the running count.
    """

    __slots__ = ("_blocked_until", "_in_flight", "_remaining", "_reset", "ends", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._remaining = limit
        self._in_flight = 0
        self.ends = float("-inf")
        self._blocked_until = float("-inf")
        self._reset = -1

    def left(self, now: float) -> int:
        if now < self._blocked_until:
            return 0
        return (self.limit if now >= self.ends else self._remaining) - self._in_flight

    def take(self, now: float) -> None:
        """Spend one. The first of a minute of which nothing is known begins one."""
        if now >= self.ends:
            self._remaining = self.limit
            self.ends = now + WINDOW
        self._in_flight += 1

    def release(self) -> None:
        """What was taken was not sent."""
        self._in_flight -= 1

    def settle(self, now: float, reading: Budget | None, seconds: float, *, limited: bool = False) -> None:
        """What was taken was sent, and this is what the answer said; ``seconds`` are those to the reading's reset.

        An answer without a reading counts as spent, but for an upstream that has never told a limit: that may have
        none, unless it is known to be ``limited``. A reading of a count that is over says nothing about the running
        one. Of two readings of the same count the lower one is the later.
        """
        self._in_flight -= 1
        if reading is None or seconds <= 0:
            if limited or self._reset >= 0:
                self._remaining = max(0, self._remaining - 1)
            return
        same = reading.reset == self._reset and now < self.ends
        self.limit = reading.limit
        self._remaining = min(self._remaining, reading.remaining) if same else reading.remaining
        if not same:
            # No longer than a minute, whatever two clocks that differ make of it.
            self._reset, self.ends = reading.reset, now + min(seconds, WINDOW)

    def block(self, now: float, seconds: float) -> None:
        """The upstream refused: nothing is left for so long, whatever readings say."""
        self._blocked_until = max(self._blocked_until, now + min(seconds, LONGEST_BLOCK))

    def ready_at(self, now: float) -> float:
        """The moment at which time alone makes something left; ``now`` where that depends on what is in flight."""
        ready = max(now, self._blocked_until)
        return self.ends if ready < self.ends and self._remaining <= 0 else ready


class RateBudget:
    """All that one secret of Productlane's may spend, by lane.

    An upload spends of two counts: the vendor limits uploads to 30 a minute "besides the write limit". Which of them an
    upload's answer tells is not documented, so it is told by its limit: the write limit where that is the one it has,
    else the upload's.
    """

    def __init__(self) -> None:
        self._read: Final = RateWindow(DEFAULTS[Lane.READ])
        self._write: Final = RateWindow(DEFAULTS[Lane.WRITE])
        self._upload: Final = RateWindow(DEFAULTS[Lane.UPLOAD])
        self._windows: Final[Mapping[Lane, tuple[RateWindow, ...]]] = {
            Lane.READ: (self._read,),
            Lane.WRITE: (self._write,),
            Lane.UPLOAD: (self._upload, self._write),
        }

    def left(self, lane: Lane, now: float) -> int:
        return min(window.left(now) for window in self._windows[lane])

    def take(self, lane: Lane, now: float) -> bool:
        """Spend one, where there is one left."""
        windows = self._windows[lane]
        for window in windows:
            if window.left(now) <= 0:
                return False
        for window in windows:
            window.take(now)
        return True

    def release(self, lane: Lane) -> None:
        """What was taken was not sent."""
        for window in self._windows[lane]:
            window.release()

    def settle(self, lane: Lane, now: float, reading: Budget | None = None, seconds: float = 0.0) -> None:
        """What was taken was sent; see `RateWindow.settle`."""
        told = self._told(lane, reading)
        for window in self._windows[lane]:
            if window is told:
                window.settle(now, reading, seconds)
            else:
                window.settle(now, None, seconds, limited=reading is not None)

    def block(self, lane: Lane, now: float, seconds: float) -> None:
        """The upstream refused a request of this lane. A refused upload does not stop other writes."""
        self._windows[lane][0].block(now, seconds)

    def ready_at(self, lane: Lane, now: float) -> float:
        """The moment at which time alone makes something left; see `RateWindow.ready_at`."""
        return max(window.ready_at(now) for window in self._windows[lane])

    def renewed_at(self, lane: Lane, now: float) -> float:
        """The moment after this one at which a count of the lane begins anew; infinite where none runs."""
        return min((window.ends for window in self._windows[lane] if window.ends > now), default=float("inf"))

    def limit(self, lane: Lane, now: float) -> int:
        """Requests a minute of the count that has the least left."""
        return min(self._windows[lane], key=lambda window: window.left(now)).limit

    def _told(self, lane: Lane, reading: Budget | None) -> RateWindow:
        if lane is Lane.UPLOAD and reading is not None and reading.limit == self._write.limit != self._upload.limit:
            return self._write
        return self._windows[lane][0]
