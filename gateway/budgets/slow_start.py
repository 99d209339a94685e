"""How many requests may try before an answer has shown that a new window runs."""

from typing import Final

# While nothing is known of a window, one request tries and the others wait for its answer. Where that takes longer
# than this, twice as many may try, and so on: one slow endpoint does not hold up the rest for long.
PATIENCE: Final = 0.5
_MOST_DOUBLINGS: Final = 20


class SlowStart:
    """The start of one window. ``sure`` is how many may go without a try; moments are seconds of one clock."""

    __slots__ = ("_began", "_sure")

    def __init__(self) -> None:
        self._sure = 0
        self._began: float | None = None

    def anew(self, sure: int = 0) -> None:
        """A window begins."""
        self._sure, self._began = sure, None

    def taken(self, now: float) -> None:
        """A request tries."""
        if self._began is None:
            self._began = now

    def broke_off(self) -> None:
        """No request tries any more, and none has shown anything."""
        self._began = None

    def most(self, now: float) -> int:
        """How many may be in flight."""
        tries = 1 if self._began is None else 1 << min(_MOST_DOUBLINGS, int((now - self._began) / PATIENCE))
        return self._sure + tries
