"""When the upstream is not asked any more because it does not answer: a circuit breaker for consecutive failures."""

from typing import Final

# Ten in a row are no accident of one request, and few enough that an outage does not hold every connection until its
# time-out. One request a second is enough to notice within two that the upstream is back.
FAILURES: Final = 10
PROBE_EVERY: Final = 1.0


class Breaker:
    """Open after `FAILURES` failures in a row; then one request in `PROBE_EVERY` seconds is let through.

    An answer of any status closes it: whoever says 401 or 500 can be reached. Times are readings of one clock.
    """

    __slots__ = ("_failures", "_next_probe")

    def __init__(self) -> None:
        self._failures = 0
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES

    def admit(self, now: float) -> bool:
        """Whether a request may be sent now. While open, being told so makes it the probe of this second."""
        if not self.is_open:
            return True
        if now < self._next_probe:
            return False
        self._next_probe = now + PROBE_EVERY
        return True

    def answered(self) -> None:
        """A byte of an answer has come."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """Not a byte of an answer came."""
        self._failures += 1
        if self._failures == FAILURES:
            self._next_probe = now + PROBE_EVERY
