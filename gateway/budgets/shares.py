"""Whose turn it is to use one count of a key: weighted max-min fairness over the callers of the running window.

The rule is progressive filling (Bertsekas and Gallager, Data Networks, 1992, section 6.5.2). The level of a caller is
what it has used of the window, divided by its weight. The caller at the lowest level is always next. A caller above
others may go on only with budget that those others will not need to reach its level: neither for the requests that
they have waiting, nor for those that their recent rate lets expect until the window ends. So a caller gets its
weighted share whatever the others do, and what a caller leaves unused goes to the others, by their weights.
"""

import math
from collections.abc import Iterator
from typing import Final

# The two numbers of the estimate of a rate: a caller's requests are forgotten over a minute, and a caller that has
# just come is taken to want as much as its first second shows.
_MEMORY: Final = 60.0
_FIRST: Final = 1.0
# Requests come in no even stream. Two standard deviations of a Poisson stream are kept for a caller besides the mean.
_MARGIN: Final = 2.0
# In the last second of a window nothing is kept for requests that have not come: the window may end a little early.
_LAST: Final = 1.0
# For so long, what all callers together want is not reckoned anew, and requests are not forgotten one by one.
_ANEW: Final = 0.25
# A caller of whom so little is remembered has gone.
_GONE: Final = 0.05


class Flow:
    """One caller's use of one count, and how often it asks. Moments are seconds of one clock."""

    __slots__ = ("_asked", "_first", "_last", "caller", "used", "waiting", "weight")

    def __init__(self, caller: str, weight: int, now: float) -> None:
        self.caller: Final = caller
        self.weight = weight
        self.used = 0
        self.waiting = 0
        self._asked = 0.0
        self._first = now
        self._last = now

    @property
    def level(self) -> float:
        """What the caller has used of the running window, by its weight."""
        return self.used / self.weight

    def arrived(self, now: float) -> None:
        """Count a request, whether it will be served or refused."""
        if now - self._last > _ANEW:
            self._asked = self.asked(now)
            self._last = now
        self._asked += 1.0

    def asked(self, now: float) -> float:
        """How many requests are remembered; each counts for less the longer it is ago."""
        ago = now - self._last
        return self._asked * math.exp(-ago / _MEMORY) if ago > 0.0 else self._asked

    def expected(self, now: float, seconds: float) -> int:
        """How many requests the caller's recent rate lets expect at most in so many seconds."""
        seen = _MEMORY * -math.expm1((self._first - now) / _MEMORY)
        mean = self.asked(now) / (seen + _FIRST) * max(0.0, seconds - _LAST)
        return int(mean + _MARGIN * math.sqrt(mean))

    def gone(self, now: float) -> bool:
        """Whether nothing needs to be remembered of the caller."""
        return not self.waiting and self.asked(now) < _GONE


class Shares:
    """The callers of one count of a key. ``used`` counts of the callers are those of the running window.

    ``wanted`` is how many requests are waiting or to be expected until its end, of all callers: true until ``anew_at``,
    and from then on to be had from `reckon`.
    """

    __slots__ = ("_flows", "_weights", "anew_at", "wanted")

    def __init__(self) -> None:
        self._flows: Final[dict[str, Flow]] = {}
        self._weights = 0
        self.anew_at = -math.inf
        self.wanted = 0

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def flow(self, caller: str, weight: int, now: float) -> Flow:
        """A caller's flow. The weight counts from now on."""
        flow = self._flows.get(caller)
        if flow is None:
            flow = self._flows[caller] = Flow(caller, weight, now)
            self.anew_at = -math.inf
        flow.weight = weight
        return flow

    def renew(self, now: float) -> None:
        """A window begins: nobody has used anything of it."""
        self.anew_at = -math.inf
        for flow in list(self._flows.values()):
            flow.used = 0
            if flow.gone(now):
                del self._flows[flow.caller]

    def kept(self, flow: Flow, now: float, seconds: float) -> int:
        """How much of what is left in the window's last ``seconds`` is kept for callers below the flow's level."""
        kept = 0
        used, weight = flow.used, flow.weight
        for other in self._flows.values():
            below = other.weight * used // weight - other.used
            if below > 0 and other is not flow:
                kept += min(below, other.waiting + other.expected(now, seconds))
        return kept

    def share(self, flow: Flow, limit: int, now: float, seconds: float) -> int:
        """The flow's part of a limit, by its weight among the callers that still count; at least 1."""
        if now >= self.anew_at:
            self.reckon(now, seconds)
        return limit * flow.weight // max(flow.weight, self._weights) or 1

    def reckon(self, now: float, seconds: float) -> int:
        """Reckon anew what all callers want in so many seconds; a moment old at most."""
        if now >= self.anew_at:
            self.anew_at = now + _ANEW
            there = [flow for flow in self._flows.values() if not flow.gone(now)]
            self._weights = sum(flow.weight for flow in there)
            self.wanted = sum(flow.waiting + flow.expected(now, seconds) for flow in there)
        return self.wanted
