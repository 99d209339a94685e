"""When a window ends that is counted elsewhere, by another clock."""

from typing import Final


def same_reset(one: int | None, other: int | None) -> bool:
    """Whether two resets are those of one window.

    Servers that reckon the reset anew for each answer round it differently, by clocks that differ a little.
    """
    return one is not None and other is not None and abs(one - other) <= 2


class Resets:
    """What is learnt of a window's end. ``length`` is the longest that it lasts, ``spread`` is added to each end."""

    __slots__ = ("_late", "_length", "_spread")

    def __init__(self, length: float, spread: float) -> None:
        self._length: Final = length
        self._spread: Final = spread
        self._late = 0.0

    def learn(self, seconds: float) -> None:
        """An answer of the running window came so many seconds before its reset, by its date.

        If the second of the reset has come and the window still counts, the reset is rounded down, so each window ends
        in the course of that second.
        """
        if seconds <= 0.0:
            self._late = 1.0

    def end(self, now: float, seconds: float) -> float:
        """When a window ends whose reset is so many seconds after an answer's date."""
        return now + min(self._length, max(0.0, seconds) + self._late) + self._spread
