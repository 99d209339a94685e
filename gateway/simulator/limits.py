"""Productlane's rate limits, counted per key. Pure: the time, in seconds, is an argument of every question.

How the burst and the minute combine is not spelled out by the vendor. Here both must have room: no more than the cap
in a minute, and no more than ``burst`` times the even pace in ten seconds. That is the stricter of the possible
readings, so a client that gets along with the simulator gets along with the other.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.core.catalog import Lane

MINUTE: Final = 60.0
BURST_SECONDS: Final = 10.0
DAY: Final = 86_400.0


class Budget(NamedTuple):
    """Requests a minute, requests left, and the Unix second at which the count starts anew."""

    limit: int
    remaining: int
    reset: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps per key and minute; ``uploads_per_day`` per workspace. The defaults are the vendor's.

    ``burst`` is how many times the even pace ten seconds may hold; from 6 on it refuses nothing.
    """

    reads: int = 1000
    writes: int = 60
    uploads: int = 30
    uploads_per_day: int = 500
    burst: float = 2.0


@dataclass(frozen=True, slots=True)
class Spent:
    """The result of one request: the budget to show in the headers, and the limit that refused it, if any.

    ``window`` is written as the vendor does, ``1m``; ``retry_after`` is in whole seconds, at least 1.
    """

    budget: Budget
    refused_limit: int = 0
    window: str = ""
    retry_after: int = 0

    @property
    def refused(self) -> bool:
        return bool(self.window)


class Window:
    """A count that starts with the first request and restarts when its time is over."""

    __slots__ = ("_ends", "_used", "limit", "name", "seconds")

    def __init__(self, limit: int, seconds: float, name: str) -> None:
        self.limit = limit
        self.seconds = seconds
        self.name = name
        self._ends = -math.inf
        self._used = 0

    def left(self, now: float) -> int:
        return self.limit if now >= self._ends else self.limit - self._used

    def take(self, now: float) -> None:
        if now >= self._ends:
            self._ends, self._used = now + self.seconds, 0
        self._used += 1

    def ends(self, now: float) -> float:
        """When the count restarts; for a window that is not running, its length from now."""
        return self._ends if now < self._ends else now + self.seconds

    def budget(self, now: float) -> Budget:
        return Budget(self.limit, self.left(now), math.ceil(self.ends(now)))


class Meter:
    """The windows of one key. ``day`` counts uploads and is shared by the keys of a workspace."""

    def __init__(self, limits: Limits, day: Window) -> None:
        read, write = Window(limits.reads, MINUTE, "1m"), Window(limits.writes, MINUTE, "1m")
        upload = Window(limits.uploads, MINUTE, "1m")
        write_burst = _burst(limits.writes, limits.burst)
        # An upload is a write as well; the vendor counts it in both.
        self._windows = {
            Lane.READ: (read, _burst(limits.reads, limits.burst)),
            Lane.WRITE: (write, write_burst),
            Lane.UPLOAD: (upload, write, write_burst, day),
        }

    def spend(self, lane: Lane, now: float) -> Spent:
        """Count a request, or refuse it; a refused request spends nothing."""
        full = [window for window in self._windows[lane] if window.left(now) <= 0]
        if full:
            last = max(full, key=lambda window: window.ends(now))
            wait = max(1, math.ceil(last.ends(now) - now))
            return Spent(self.budget(lane, now), last.limit, last.name, wait)
        for window in self._windows[lane]:
            window.take(now)
        return Spent(self.budget(lane, now))

    def budget(self, lane: Lane, now: float) -> Budget:
        """What the headers show: of the minute's counts, the one with the least left."""
        minutes = [window for window in self._windows[lane] if window.seconds == MINUTE]
        return min(minutes, key=lambda window: window.left(now)).budget(now)


def _burst(limit: int, burst: float) -> Window:
    return Window(max(1, math.floor(limit * burst * BURST_SECONDS / MINUTE)), BURST_SECONDS, "10s")
