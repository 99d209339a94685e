"""What a request asks of a key: its part in each count that its lane is counted in."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gateway.budgets.rates import WINDOW, RateWindow
from gateway.budgets.reports import CountReport
from gateway.budgets.shares import Flow
from gateway.core.budget import Reading
from gateway.core.catalog import Lane

# A day: the longest that the vendor counts is 500 uploads a day, so no honest Retry-After is longer.
_LONGEST_BLOCK: Final = 86_400.0
# Requests a minute for a key that has had no answer yet. Source: the vendor's page on rate limits.
DEFAULTS: Final[Mapping[Lane, int]] = {Lane.READ: 1000, Lane.WRITE: 60, Lane.UPLOAD: 30}


class Claim:
    """One request of one caller in one count. It is taken at most once, and what was taken is released or settled once.

    ``also`` is its claim in a second count: the vendor limits uploads to 30 a minute "besides the write limit".
    """

    __slots__ = ("also", "epoch", "flow", "lane", "window")

    def __init__(self, lane: Lane, window: RateWindow, flow: Flow, also: "Claim | None" = None) -> None:
        self.lane = lane
        self.window = window
        self.flow = flow
        self.also = also
        self.epoch = -1

    def free(self, now: float) -> int:
        """What this caller may send now: what is left, less what is kept for callers that used less than their part."""
        free = self.window.free(self.flow, now)
        return free if self.also is None else min(free, self.also.free(now))

    def take(self, now: float) -> bool:
        """Spend one, where this caller may."""
        if self.also is not None:
            if self.free(now) <= 0:
                return False
            self.force(now)
            return True
        epoch = self.window.take_free(self.flow, now)
        if epoch is None:
            return False
        self.flow.used += 1
        self.epoch = epoch
        return True

    def force(self, now: float) -> None:
        """Spend one."""
        self.flow.used += 1
        self.epoch = self.window.take(now)
        if self.also is not None:
            self.also.force(now)

    def release(self) -> None:
        """What was taken was not sent."""
        self.window.release(self.epoch)
        if self.epoch == self.window.epoch:
            self.flow.used -= 1
        if self.also is not None:
            self.also.release()

    def settle(self, now: float, reading: Reading | None = None, remaining: int = 0) -> None:
        """What was taken was sent; see `RateWindow.settle`.

        It is not documented which count the answer to an upload reports. The limit in the answer shows it: a limit
        equal to that of the write count means the write count, any other limit the upload count.
        """
        also = self.also
        if also is None:
            self.window.settle(now, self.epoch, reading, remaining)
            return
        told, other = self, also
        if reading is not None and reading.limit == also.window.limit != self.window.limit:
            told, other = also, self
        told.window.settle(now, told.epoch, reading, remaining)
        other.window.settle(now, other.epoch, None, limited=reading is not None)

    def block(self, now: float, seconds: float, *, empty: bool) -> None:
        """The upstream refused the request. A refused upload does not stop other writes.

        One endpoint's refusal stops the lane for a window at most, unless the answer says that the key is ``empty``.
        Uploads may end for a day: the vendor counts those of a day too.
        """
        longest = _LONGEST_BLOCK if empty or self.lane is Lane.UPLOAD else WINDOW
        self.window.block(now, min(seconds, longest))

    def ready_at(self, now: float) -> float:
        """The moment at which time alone makes something left; see `RateWindow.ready_at`."""
        return max(part.window.ready_at(now) for part in self.parts)

    def free_at(self, now: float) -> float:
        """The moment at which there is more for this caller for certain: at the latest, the next window."""
        ready = self.ready_at(now)
        if ready > now or self.opening(now):
            return ready
        ends = [part.window.ends for part in self.parts if part.window.ends < math.inf]
        return max(ends, default=now)

    def in_time(self, deadline: float, ahead: int, now: float) -> bool:
        """Whether there may be budget by a deadline, behind so many requests of the same caller in the `last` count."""
        last = self.last.window.most_until(deadline, now) > ahead
        return last and (self.also is None or self.window.most_until(deadline, now) > 0)

    def opening(self, now: float) -> bool:
        """Whether nothing but the first answer of a window is waited for."""
        opening = [part for part in self.parts if part.window.opening(now)]
        return bool(opening) and all(part in opening or part.window.left(now) > 0 for part in self.parts)

    @property
    def parts(self) -> "tuple[Claim, ...]":
        """The claim in each count."""
        return (self,) if self.also is None else (self, self.also)

    @property
    def last(self) -> "Claim":
        """The claim in the count by which its place in the queue is reckoned: uploads and other writes share one."""
        return self.also or self

    def scarcest(self, now: float) -> "Claim":
        """The claim in the count that has the least left."""
        return min(self.parts, key=lambda part: part.window.remaining(now))


class RateBudget:
    """All that one secret of Productlane's may spend. The arguments are those of `RateWindow`.

    ``windows`` are the counts by the lane that each is named after.
    """

    __slots__ = ("_counts", "windows")

    def __init__(
        self,
        *,
        length: float = WINDOW,
        spread: float = 0.0,
        chance: Callable[[], float] = lambda: 0.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.windows: Final = {
            lane: RateWindow(limit, length=length, spread=spread, chance=chance, wall=wall)
            for lane, limit in DEFAULTS.items()
        }
        read, write, upload = (self.windows[lane] for lane in (Lane.READ, Lane.WRITE, Lane.UPLOAD))
        self._counts: Final = {Lane.READ: (read,), Lane.WRITE: (write,), Lane.UPLOAD: (upload, write)}

    def claim(self, lane: Lane, caller: str, weight: int, now: float) -> Claim:
        """A request of a caller in a lane, that has not been counted as one of its requests."""
        window = self.windows[lane]
        also = self.claim(Lane.WRITE, caller, weight, now) if lane is Lane.UPLOAD else None
        return Claim(lane, window, window.shares.flow(caller, weight, now), also)

    def left(self, lane: Lane, now: float) -> int:
        """What anybody may send now; 0 or less for nothing."""
        return min(window.left(now) for window in self._counts[lane])

    def ready_at(self, lane: Lane, now: float) -> float:
        """The moment at which time alone makes something left; see `RateWindow.ready_at`."""
        return max(window.ready_at(now) for window in self._counts[lane])

    def report(self, now: float) -> Iterator[tuple[Lane, CountReport]]:
        """What is to be reported to other replicas of each count that callers use."""
        for lane, window in self.windows.items():
            callers = window.shares.report(now)
            if callers:
                yield lane, CountReport(window.reset, window.remaining(now), callers)
