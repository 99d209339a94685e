"""How near a count came to its limit lately."""


class Lowest:
    """The fewest requests left that answers reported, in the current window and in the one before it."""

    __slots__ = ("_before", "_now")

    def __init__(self) -> None:
        self._now: int | None = None
        self._before: int | None = None

    def read(self, remaining: int) -> None:
        """An answer reported so many."""
        if self._now is None or remaining < self._now:
            self._now = remaining

    def anew(self, *, recent: bool) -> None:
        """A window begins; the one before it is ``recent`` unless a whole one passed in between."""
        self._before, self._now = self._now if recent else None, None

    def least(self, default: int) -> int:
        """The fewest, or the default where nothing was reported."""
        return min((low for low in (self._now, self._before) if low is not None), default=default)
