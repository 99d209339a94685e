"""One count of Productlane's of one key: a limit of requests in a window, as the answers tell it.

The window is not ours: it begins, ends and is counted elsewhere, by another clock, for other replicas too. What the
last answer left is shared truth. What this process has in flight comes off it, because nobody here knows whether it
has been counted. The end of the window is reckoned from the answer's own ``Date``, so no two clocks are compared.
Moments are readings of one monotonic clock, in seconds.
"""

from collections.abc import Callable
from typing import Final

from gateway.budgets.replicas import Replicas
from gateway.budgets.shares import Flow, Shares
from gateway.core.budget import Budget

WINDOW: Final = 60.0
# A day: the longest that the vendor counts is 500 uploads a day, so no honest Retry-After is longer.
LONGEST_BLOCK: Final = 86_400.0
# While nothing is known of a window, one request tries and the others wait for its answer. Where that takes longer
# than this, twice as many may try, and so on: one slow endpoint does not hold up the rest for long.
PATIENCE: Final = 0.5
_NEVER: Final = float("inf")


class RateWindow:
    """What is left of the running window, and what is believed until an answer confirms that a new one runs.

    ``epoch`` numbers the windows. A request belongs to the window that it was taken in: in a later one it counts as
    spent, not as in flight, however long it takes. ``ends`` is infinite while no window runs. ``spread`` is by how
    many seconds this replica comes back later than the window's end, so that not all replicas try at once; ``chance``
    draws a number from 0 to 1.
    """

    __slots__ = (
        "_before",
        "_blocked_until",
        "_confirmed",
        "_in_flight",
        "_late",
        "_length",
        "_low",
        "_low_before",
        "_opened_at",
        "_own",
        "_remaining",
        "_silent",
        "_spread",
        "ends",
        "epoch",
        "limit",
        "replicas",
        "reset",
        "shares",
    )

    def __init__(
        self,
        limit: int,
        *,
        length: float = WINDOW,
        spread: float = 0.0,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._length: Final = length
        self._spread: Final = spread
        self.replicas: Final = Replicas(chance)
        self.shares: Final = Shares()
        self.limit = limit
        self.epoch = 0
        self.ends = _NEVER
        self.reset: int | None = None
        self._remaining = limit
        self._in_flight = 0
        self._own = 0
        self._before = 0
        self._opened_at: float | None = None
        self._confirmed = False
        self._silent = False
        self._late = 0.0
        self._blocked_until = -_NEVER
        self._low: int | None = None
        self._low_before: int | None = None

    def free(self, flow: Flow, now: float) -> int:
        """What one caller may send now, less what is kept for callers that used less for their weight; 0 for nothing.

        Where there is more than all callers want, what is kept is not counted one by one.
        """
        left = self.left(now)
        if left <= 0 or not flow.used:
            return left
        seconds = self.seconds_left(now)
        if left > self.shares.wanted(now, seconds) and not self.replicas.count:
            return left
        return self.left(now, self.shares.kept(flow, now, seconds))

    def left(self, now: float, kept: int = 0) -> int:
        """How many requests may be sent now, less the ``kept`` ones. 0 or less means none."""
        if now < self._blocked_until:
            return 0
        if now >= self.ends:
            self._renew(now)
        if self._confirmed:
            return self.replicas.left(now, self._remaining, self._in_flight, self.limit, kept)
        return min(self._remaining - kept, self._trial(now)) - self._in_flight

    def remaining(self, now: float) -> int:
        """How many requests are left, with those that are held back or not yet tried."""
        if now >= self.ends:
            self._renew(now)
        return max(0, self._remaining - self._in_flight)

    def lowest(self, now: float) -> int:
        """The fewest requests left that answers reported in the current window and in the one before it."""
        if now >= self.ends:
            self._renew(now)
        return min((low for low in (self._low, self._low_before) if low is not None), default=self.limit)

    def opening(self, now: float) -> bool:
        """Whether requests wait for nothing but the first answer of a window."""
        return not self._confirmed and now >= self._blocked_until and self.remaining(now) > 0

    def take(self, now: float) -> int:
        """Spend one. Returns the number of the window, which `release` and `settle` are given."""
        if self.ends == _NEVER:
            self.ends = now + self._length
        if self._opened_at is None and not self._confirmed:
            self._opened_at = now
        self._in_flight += 1
        self._own += 1
        return self.epoch

    def release(self, epoch: int) -> None:
        """What was taken was not sent."""
        if epoch == self.epoch:
            self._in_flight -= 1
            self._own -= 1
            if not self._in_flight:
                self._opened_at = None

    def settle(self, now: float, epoch: int, reading: Budget | None, seconds: float, *, limited: bool = False) -> None:
        """What was taken was sent. ``reading`` is what the answer said, ``seconds`` its reset less its date.

        An answer without a reading counts as spent if the upstream has ever reported a limit; otherwise it may have
        none. If the answer reported another count (``limited``), the upstream has a limit, and no later answer will
        report this count.
        """
        current = epoch == self.epoch
        if current:
            self._in_flight -= 1
        read = reading is not None and self._read(now, reading, seconds, current=current)
        if current and not read:
            self._count(limited)

    def block(self, now: float, seconds: float) -> None:
        """The upstream refused: nothing is left for so long, whatever readings say."""
        self._blocked_until = max(self._blocked_until, now + seconds)

    def ready_at(self, now: float) -> float:
        """The moment at which time alone makes something left; ``now`` where that depends on what is in flight."""
        if now >= self.ends:
            self._renew(now)
        ready = max(now, self._blocked_until)
        nothing = self._remaining <= 0 or (self._confirmed and self.replicas.lost(now, self.limit))
        return self.ends if nothing and ready < self.ends else ready

    def most_until(self, deadline: float, now: float) -> int:
        """How many requests this window and those after it leave at most until a deadline."""
        if self.ready_at(now) > deadline:
            return 0
        windows = 0 if self.ends > deadline else 1 + int((deadline - self.ends) / self._length)
        return max(0, self._remaining) + windows * self.limit

    def seconds_left(self, now: float) -> float:
        """How long the running window lasts; its whole length where none runs."""
        return min(self._length, max(0.0, self.ends - now))

    def _renew(self, now: float) -> None:
        """The window is over. The next is believed in part only: by what was left, and by one request more."""
        self._before = max(0, self._remaining - self._in_flight) if self._confirmed and not self.replicas.count else 0
        self._begin(now)
        self._remaining = self.limit
        self._confirmed = self._silent
        self.ends = _NEVER

    def _begin(self, now: float) -> None:
        self._low_before = self._low if now < self.ends + self._length else None
        self._low = None
        self.epoch += 1
        self._in_flight = 0
        self._own = 0
        self._opened_at = None
        self.shares.renew(now)

    def _trial(self, now: float) -> int:
        """How many requests may be in flight before an answer has confirmed the window (slow start)."""
        if self._opened_at is None:
            return self._before + 1
        return self._before + (1 << min(20, int((now - self._opened_at) / PATIENCE)))

    def _count(self, limited: bool) -> None:
        """An answer said nothing of this count."""
        if limited or self.reset is not None:
            self._remaining = max(0, self._remaining - 1)
            self._confirmed = self._confirmed or limited
        else:
            self._silent = self._confirmed = True

    def _read(self, now: float, reading: Budget, seconds: float, *, current: bool) -> bool:
        """Believe a reading; False where it is of a window that is over."""
        # Servers that reckon the reset anew for each answer round it differently, by clocks that differ a little.
        same = self.reset is not None and abs(reading.reset - self.reset) <= 2
        if (same and not self._confirmed and not current) or seconds <= -2.0:
            return False
        if not same and not current and self.reset is not None and reading.reset < self.reset:
            return False
        if seconds <= 0.0:
            # The second of the reset has come and the window still counts: the reset is rounded down, so the window
            # ends in the course of that second.
            self._late = 1.0
        until = max(0.0, seconds) + self._late
        ends = now + min(self._length, until) + self._spread
        if same and self._confirmed:
            # Of two answers of one window the one with less left is the later. A date is cut to whole seconds, so
            # the earliest end that any answer gives is the nearest to the truth.
            if reading.remaining < self._remaining:
                self._remaining = reading.remaining
            if seconds <= 0.0 or ends < self.ends:
                self.ends = ends
            self.replicas.read(now, self._remaining, self._own, self._in_flight)
        else:
            if self._confirmed and self.reset is not None:
                self._begin(now)
            self.reset, self.ends = reading.reset, ends
            self._remaining = reading.remaining
            self.replicas.begin(now, reading.remaining, self._own - self._in_flight)
        self.limit, self._confirmed, self._silent = reading.limit, True, False
        if self._low is None or self._remaining < self._low:
            self._low = self._remaining
        return True
