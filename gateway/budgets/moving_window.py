"""Requests of the last minute, counted in this process: no minute holds more than the limit, wherever it begins."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

# After so many requests, callers that sent nothing for a whole window are forgotten.
_SWEEP: Final = 4096


class Room(NamedTuple):
    """What a count says of a request: the seconds until there is room for it, 0.0 where it was counted.

    ``left`` is how many more there is room for, and ``more_in`` the seconds until there is room for one more.
    """

    wait: float
    left: int
    more_in: float


class MovingWindows:
    """The moments of the last requests, by key. ``clock`` counts seconds and is never set back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._moments: Final[dict[str, deque[float]]] = {}
        self._until_sweep = _SWEEP

    def __len__(self) -> int:
        return len(self._moments)

    def spend(self, key: str, most: int, seconds: float) -> Room:
        """Count a request where there is room."""
        now = self._clock()
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._sweep(now - seconds)
        moments = self._moments.setdefault(key, deque())
        while moments and moments[0] <= now - seconds:
            moments.popleft()
        if len(moments) >= most:
            # With a limit that was lowered, more than one has to go first.
            wait = moments[len(moments) - most] + seconds - now
            return Room(wait, 0, wait)
        moments.append(now)
        return Room(0.0, most - len(moments), moments[0] + seconds - now)

    def _sweep(self, begin: float) -> None:
        self._until_sweep = _SWEEP
        for key in [key for key, moments in self._moments.items() if not moments or moments[-1] <= begin]:
            del self._moments[key]
