"""What a request asks of a key: its part in each count that its lane is counted in."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gateway.budgets.rates import WINDOW, RateWindow
from gateway.budgets.reports import CountReport
from gateway.budgets.shares import Flow
from gateway.core.budget import Budget
from gateway.core.catalog import Lane

# A day: the longest that the vendor counts is 500 uploads a day, so no honest Retry-After is longer.
_LONGEST_BLOCK: Final = 86_400.0
# Requests a minute for a key that has had no answer yet. Source: the vendor's page on rate limits.
DEFAULTS: Final[Mapping[Lane, int]] = {Lane.READ: 1000, Lane.WRITE: 60, Lane.UPLOAD: 30}


class Claim:
    """One request of one caller. It is taken at most once, and what was taken is released or settled once."""

    __slots__ = ("_epochs", "flows", "lane", "windows")

    def __init__(self, lane: Lane, windows: tuple[RateWindow, ...], flows: tuple[Flow, ...]) -> None:
        self.lane = lane
        self.windows = windows
        self.flows = flows
        self._epochs: tuple[int, ...] = ()

    def arrived(self, now: float) -> None:
        """The caller asks for it."""
        for flow in self.flows:
            flow.arrived(now)

    def left(self, now: float) -> int:
        """What anybody may send now; 0 or less for nothing."""
        return min(window.left(now) for window in self.windows)

    def free(self, now: float) -> int:
        """What this caller may send now: what is left, less what is kept for callers that used less than their part."""
        if len(self.windows) == 1:
            return self.windows[0].free(self.flows[0], now)
        return min(window.free(flow, now) for window, flow in zip(self.windows, self.flows, strict=True))

    def take(self, now: float) -> bool:
        """Spend one, where this caller may."""
        if len(self.windows) == 1:
            window, flow = self.windows[0], self.flows[0]
            if window.free(flow, now) <= 0:
                return False
            flow.used += 1
            self._epochs = (window.take(now),)
            return True
        if self.free(now) <= 0:
            return False
        self.force(now)
        return True

    def force(self, now: float) -> None:
        """Spend one."""
        for flow in self.flows:
            flow.used += 1
        self._epochs = tuple([window.take(now) for window in self.windows])

    def release(self) -> None:
        """What was taken was not sent."""
        for window, flow, epoch in zip(self.windows, self.flows, self._epochs, strict=True):
            window.release(epoch)
            if epoch == window.epoch:
                flow.used -= 1

    def settle(self, now: float, reading: Budget | None = None, seconds: float = 0.0) -> None:
        """What was taken was sent; see `RateWindow.settle`.

        It is not documented which count the answer to an upload reports. The limit in the answer shows it: a limit
        equal to that of the write count means the write count, any other limit the upload count.
        """
        told = self.windows[0]
        if len(self.windows) == 1:
            told.settle(now, self._epochs[0], reading, seconds)
            return
        if reading is not None and len(self.windows) > 1 and reading.limit == self.windows[1].limit != told.limit:
            told = self.windows[1]
        for window, epoch in zip(self.windows, self._epochs, strict=True):
            if window is told:
                window.settle(now, epoch, reading, seconds)
            else:
                window.settle(now, epoch, None, seconds, limited=reading is not None)

    def block(self, now: float, seconds: float, *, empty: bool) -> None:
        """The upstream refused the request. A refused upload does not stop other writes.

        One endpoint's refusal stops the lane for a window at most, unless the answer says that the key is ``empty``.
        Uploads may end for a day: the vendor counts those of a day too.
        """
        longest = _LONGEST_BLOCK if empty or self.lane is Lane.UPLOAD else WINDOW
        self.windows[0].block(now, min(seconds, longest))

    def ready_at(self, now: float) -> float:
        """The moment at which time alone makes something left; see `RateWindow.ready_at`."""
        return max(window.ready_at(now) for window in self.windows)

    def free_at(self, now: float) -> float:
        """The moment at which there is more for this caller for certain: at the latest, the next window."""
        ready = self.ready_at(now)
        if ready > now or self.opening(now):
            return ready
        ends = [window.ends for window in self.windows if window.ends < math.inf]
        return max(ends, default=now)

    def most_until(self, deadline: float, now: float) -> int:
        """More than so many requests cannot be sent by a deadline, whatever others do."""
        return min(window.most_until(deadline, now) for window in self.windows)

    def opening(self, now: float) -> bool:
        """Whether nothing but the first answer of a window is waited for."""
        opening = [window for window in self.windows if window.opening(now)]
        return bool(opening) and all(window in opening or window.left(now) > 0 for window in self.windows)

    def scarcest(self, now: float) -> tuple[RateWindow, Flow]:
        """The count that has the least left, and the caller's part in it."""
        return min(zip(self.windows, self.flows, strict=True), key=lambda pair: pair[0].remaining(now))

    def quota(self, now: float) -> tuple[int, int, float]:
        """The caller's share of the window, what it may still send of it, and the seconds until the next."""
        window, flow = (self.windows[0], self.flows[0]) if len(self.windows) == 1 else self.scarcest(now)
        left, seconds, shares = window.remaining(now), window.seconds_left(now), window.shares
        share = shares.share(flow, window.limit, now, seconds)
        return share, min(left, max(share - flow.spent, left - shares.wanted, 0)), seconds


class RateBudget:
    """All that one secret of Productlane's may spend. The arguments are those of `RateWindow`.

    An upload spends of two counts: the vendor limits uploads to 30 a minute "besides the write limit".
    """

    def __init__(
        self,
        *,
        length: float = WINDOW,
        spread: float = 0.0,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._windows: Final = {
            lane: RateWindow(limit, length=length, spread=spread, chance=chance) for lane, limit in DEFAULTS.items()
        }
        read, write, upload = (self._windows[lane] for lane in (Lane.READ, Lane.WRITE, Lane.UPLOAD))
        self.counts: Final = {Lane.READ: (read,), Lane.WRITE: (write,), Lane.UPLOAD: (upload, write)}

    def claim(self, lane: Lane, caller: str, weight: int, now: float) -> Claim:
        """A request of a caller in a lane, that has not been counted as one of its requests."""
        windows = self.counts[lane]
        return Claim(lane, windows, tuple([window.shares.flow(caller, weight, now) for window in windows]))

    def left(self, lane: Lane, now: float) -> int:
        """What anybody may send now; 0 or less for nothing."""
        return min(window.left(now) for window in self.counts[lane])

    def ready_at(self, lane: Lane, now: float) -> float:
        """The moment at which time alone makes something left; see `RateWindow.ready_at`."""
        return max(window.ready_at(now) for window in self.counts[lane])

    def epoch(self, lane: Lane) -> int:
        """The number of the lane's window."""
        return self.counts[lane][-1].epoch

    def report(self, now: float) -> Iterator[tuple[Lane, CountReport]]:
        """What is to be reported to other replicas of each count that callers use."""
        for lane, window in self._windows.items():
            callers = window.shares.report(now)
            if callers:
                yield lane, CountReport(window.reset, window.remaining(now), callers)

    def window(self, lane: Lane) -> RateWindow:
        """The count that is named after a lane."""
        return self._windows[lane]

    def __iter__(self) -> Iterator[tuple[Lane, RateWindow]]:
        """Every count, by the lane that it is named after."""
        return iter(self._windows.items())
