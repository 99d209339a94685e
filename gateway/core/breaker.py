"""A circuit breaker: after enough failures in a row, requests to the upstream are refused for a while."""

from typing import Final

# Ten in a row are no accident of one request, and few enough that an outage does not hold every connection until its
# time-out. One request a second is enough to notice within two that the upstream is back.
FAILURES: Final = 10
PROBE_EVERY: Final = 1.0
# How much later the caller of the last probe may make the next one: another caller goes first, if there is one.
_AFTER_OTHERS: Final = 0.5


class _Streak:
    """Failures in a row, of one caller or of all, and when the next probe is due once there are `FAILURES`."""

    __slots__ = ("callers", "count", "next_probe", "prober", "unconnected")

    def __init__(self) -> None:
        self.count = 0
        self.unconnected = 0
        self.callers: set[str] = set()
        self.next_probe = 0.0
        self.prober = ""


class Breaker:
    """Open for a caller after `FAILURES` of its own failures in a row; for everyone after as many failures to connect,
    or as many failures in a row in which two callers had a part. So no caller closes the way for others by requests
    that make the upstream hang up. While it is open, one request in `PROBE_EVERY` seconds is let through.

    An answer of any status closes it: an upstream that answers 401 or 500 is reachable. Times are readings of one
    clock. Its memory is bounded by the number of callers. ``failing`` holds nothing while all is well: then there is
    nothing to ask and nothing to tell but a failure.
    """

    __slots__ = ("_all", "failing")

    def __init__(self) -> None:
        self._all = _Streak()
        self.failing: dict[str, _Streak] = {}

    @property
    def is_open(self) -> bool:
        """Whether it is open for anyone."""
        return self._open_for_all or any(own.count >= FAILURES for own in self.failing.values())

    @property
    def _open_for_all(self) -> bool:
        every = self._all
        return every.unconnected >= FAILURES or (every.count >= FAILURES and len(every.callers) > 1)

    def admit(self, now: float, caller: str = "") -> bool:
        """Whether a request may be sent now. While open, being admitted makes it the probe of this second."""
        if not self.failing:
            return True
        if self._open_for_all:
            streak = self._all
            due = streak.next_probe + (_AFTER_OTHERS if caller == streak.prober and len(streak.callers) > 1 else 0.0)
        else:
            own = self.failing.get(caller)
            if own is None or own.count < FAILURES:
                return True
            streak, due = own, own.next_probe
        if now < due:
            return False
        streak.next_probe = now + PROBE_EVERY
        streak.prober = caller
        return True

    def answered(self, caller: str = "") -> None:
        """A byte of an answer has come to a request of this caller."""
        if self.failing:
            self._all = _Streak()
            self.failing.pop(caller, None)

    def failed(self, now: float, caller: str = "", *, connected: bool = True) -> None:
        """Not a byte of an answer came; without ``connected`` there was not even a connection."""
        own = self.failing.setdefault(caller, _Streak())
        for streak in (self._all, own):
            was_below = streak.count < FAILURES
            streak.count += 1
            streak.unconnected = 0 if connected else streak.unconnected + 1
            streak.callers.add(caller)
            if was_below and streak.count >= FAILURES:
                streak.next_probe = now + PROBE_EVERY
