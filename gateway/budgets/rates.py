"""One count of Productlane's of one key: a limit of requests in a window, as the answers tell it.

The window is not ours: it begins, ends and is counted elsewhere, by another clock, for other replicas too. What the
last answer left is shared truth. What this process has in flight comes off it, because nobody here knows whether it
has been counted. The end of the window is reckoned from the answer's own ``Date``, so no two clocks are compared.
Moments are readings of one monotonic clock, in seconds.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from gateway.budgets.replicas import Replicas
from gateway.budgets.reports import CountReport
from gateway.budgets.resets import Resets, same_reset
from gateway.budgets.shares import Flow, Shares
from gateway.budgets.slow_start import SlowStart
from gateway.core.budget import Reading

WINDOW: Final = 60.0
_NEVER: Final = float("inf")


class RateWindow:
    """What is left of the running window, and what is believed until an answer confirms that a new one runs.

    ``epoch`` numbers the windows. A request belongs to the window that it was taken in: in a later one it counts as
    spent, not as in flight, however long it takes. ``ends`` is infinite while no window runs. ``spread`` is by how
    many seconds this replica comes back later than the window's end, so that not all replicas try at once; ``chance``
    draws a number from 0 to 1, and ``wall`` is Unix time.
    """

    def __init__(
        self,
        limit: int,
        *,
        length: float = WINDOW,
        spread: float = 0.0,
        chance: Callable[[], float] = lambda: 0.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall: Final = wall
        self._length: Final = length
        self._resets: Final = Resets(length, spread)
        self.replicas: Final = Replicas(chance)
        self.shares: Final = Shares()
        self.limit = self._remaining = limit
        self.epoch = 0
        self.ends = _NEVER
        self.reset: int | None = None
        self._in_flight = self._own = 0
        self._start: Final = SlowStart()
        self._confirmed = self._silent = False
        self._blocked_until = -_NEVER
        self._reading: Reading | None = None
        self._before: int | None = None

    def free(self, flow: Flow, now: float) -> int:
        """What one caller may send now, less what is kept for callers that used less for their weight; 0 for nothing.

        Where there is more than all callers want, less what they all want, so that nobody is counted one by one.
        """
        left = self.left(now)
        if left <= 0 or not (flow.used or flow.elsewhere):
            return left
        seconds = self.seconds_left(now)
        left = self.left(now, self.shares.reckon(now, seconds))
        return left if left > 0 else self.left(now, self.shares.kept(flow, now, seconds))

    def left(self, now: float, kept: int = 0) -> int:
        """How many requests may be sent now, less the ``kept`` ones. 0 or less means none."""
        if now < self._blocked_until:
            return 0
        if now >= self.ends:
            self._renew(now)
        if self._confirmed:
            return self.replicas.left(now, self._remaining, self._in_flight, self.limit, kept)
        return min(self._remaining - kept, self._start.most(now)) - self._in_flight

    def remaining(self, now: float) -> int:
        """How many requests are left, with those that are held back or not yet tried."""
        if now >= self.ends:
            self._renew(now)
        return max(0, self._remaining - self._in_flight)

    def lowest(self, now: float) -> int:
        """The fewest requests that were left in the current window and in the one before it."""
        if now >= self.ends:
            self._renew(now)
        return min(self.limit if self._before is None else self._before, self._remaining)

    def opening(self, now: float) -> bool:
        """Whether requests wait for nothing but the first answer of a window."""
        return not self._confirmed and now >= self._blocked_until and self.remaining(now) > 0

    def take_free(self, flow: Flow, now: float) -> int | None:
        """As `take`, where this caller may send one; None where it may not."""
        shares = self.shares
        plain = self._confirmed and self._blocked_until <= now < self.ends and not self.replicas.count
        if plain and now < shares.anew_at and self._remaining - self._in_flight > shares.wanted:
            # There is more than all callers want.
            self._in_flight += 1
            self._own += 1
            return self.epoch
        return self.take(now) if self.free(flow, now) > 0 else None

    def take(self, now: float) -> int:
        """Spend one. Returns the number of the window, which `release` and `settle` are given."""
        if self.ends == _NEVER:
            self.ends = now + self._length
        if not self._confirmed:
            self._start.taken(now)
        self._in_flight += 1
        self._own += 1
        return self.epoch

    def release(self, epoch: int) -> None:
        """What was taken was not sent."""
        if epoch == self.epoch:
            self._in_flight -= 1
            self._own -= 1
            if not self._in_flight:
                self._start.broke_off()

    def settle(
        self, now: float, epoch: int, reading: Reading | None, remaining: int = 0, *, limited: bool = False
    ) -> None:
        """What was taken was sent. ``reading`` is what the answer said, with so many requests ``remaining``.

        An answer without a reading counts as spent if the upstream has ever reported a limit; otherwise it may have
        none. If the answer reported another count (``limited``), the upstream has a limit, and no later answer will
        report this count.
        """
        current = epoch == self.epoch
        if current:
            self._in_flight -= 1
        if reading is None:
            if current:
                self._count(limited)
        elif reading is self._reading and now < self.ends:
            # It says nothing new of the window's end.
            if remaining < self._remaining:
                self._remaining = remaining
            self.replicas.read(now, self._remaining, self._own, self._in_flight)
        elif not self._read(now, reading, remaining, current=current) and current:
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

    def heard(self, now: float, reports: Sequence[CountReport]) -> None:
        """What other replicas report of this count. A reading of theirs is as good as one of ours."""
        running = [report for report in reports if self._confirmed and same_reset(report.reset, self.reset)]
        self._remaining = min([self._remaining, *(report.remaining for report in running)])
        others = [report.callers for report in reports if report not in running]
        used = self.shares.heard([report.callers for report in running], others, now)
        self.replicas.heard(now, len(reports), self._remaining, self._own, used if running else None)

    def quota(self, flow: Flow, now: float) -> tuple[int, int, float]:
        """A caller's share of the window, what it may still send of it, and the seconds until the next."""
        if now >= self.ends:
            self._renew(now)
        shares, seconds = self.shares, min(self._length, self.ends - now)
        share = shares.share(flow, self.limit, now, seconds)
        left = self._remaining - self._in_flight
        return share, max(0, min(left, max(share - flow.spent, left - shares.wanted))), seconds

    def seconds_left(self, now: float) -> float:
        """How long the running window lasts; its whole length where none runs."""
        left = self.ends - now
        return left if 0.0 < left < self._length else 0.0 if left <= 0.0 else self._length

    def _renew(self, now: float) -> None:
        """The window is over. The next is believed in part only: by what was left, and by one request more."""
        sure = max(0, self._remaining - self._in_flight) if self._confirmed and not self.replicas.count else 0
        self._begin(now)
        self._start.anew(sure)
        self._remaining = self.limit
        self._confirmed = self._silent
        self.ends = _NEVER

    def _begin(self, now: float) -> None:
        self._before = self._remaining if self._confirmed and now < self.ends + self._length else None
        self._reading = None
        self.epoch += 1
        self._in_flight = self._own = 0
        self._start.anew()
        self.shares.renew(now)

    def _count(self, limited: bool) -> None:
        """An answer said nothing of this count."""
        if limited or self.reset is not None:
            self._remaining = max(0, self._remaining - 1)
            self._confirmed = self._confirmed or limited
        else:
            self._silent = self._confirmed = True

    def _read(self, now: float, reading: Reading, remaining: int, *, current: bool) -> bool:
        """Believe a reading; False where it is of a window that is over."""
        seconds = reading.reset - self._wall() if reading.seconds is None else float(reading.seconds)
        same = same_reset(reading.reset, self.reset)
        if (same and not self._confirmed and not current) or seconds <= -2.0:
            return False
        if not same and not current and self.reset is not None and reading.reset < self.reset:
            return False
        self._resets.learn(seconds)
        if same and self._confirmed:
            self._read_more(now, reading.limit, remaining, seconds)
        else:
            self._read_first(now, reading, remaining, seconds)
        self._reading = reading if seconds > 0.0 else None
        return True

    def _read_first(self, now: float, reading: Reading, remaining: int, seconds: float) -> None:
        """Believe the first reading of a window."""
        if self._confirmed and self.reset is not None:
            self._begin(now)
        self.reset, self.ends = reading.reset, self._resets.end(now, seconds)
        self._remaining = remaining
        self.replicas.begin(now, remaining, self._own - self._in_flight)
        self.limit, self._confirmed, self._silent = reading.limit, True, False

    def _read_more(self, now: float, limit: int, remaining: int, seconds: float) -> None:
        """Believe a further reading of the running window.

        Of two answers of one window the one with less left is the later. A date is cut to whole seconds, so the
        earliest end that any answer gives is the nearest to the truth.
        """
        self._remaining = min(self._remaining, remaining)
        ends = self._resets.end(now, seconds)
        if ends < self.ends or seconds <= 0.0:
            self.ends = ends
        self.limit = limit
        self.replicas.read(now, self._remaining, self._own, self._in_flight)
