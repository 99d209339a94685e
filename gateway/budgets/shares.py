"""Whose turn it is to use one count of a key: weighted max-min fairness over the callers of the running window.

The rule is progressive filling (Bertsekas and Gallager, Data Networks, 1992, section 6.5.2). The level of a caller is
what it has used of the window, divided by its weight. The caller at the lowest level is always next. A caller above
others may go on only with budget that those others will not need to reach its level: neither for the requests that
they have waiting, nor for those that their recent rate lets expect until the window ends. So a caller gets its
weighted share whatever the others do, and what a caller leaves unused goes to the others, by their weights.

What other replicas report of a caller counts as its own. A report is a second old, so what this process has sent since
is taken to have been sent elsewhere too, as often as the caller asks there.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.budgets.reports import MOST_CALLERS, CallerReport

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
# How much more often than here a caller may be taken to ask elsewhere.
_MOST_ELSEWHERE: Final = 64.0


class Flow:
    """One caller's use of one count, and how often it asks. Moments are seconds of one clock.

    ``used`` and ``waiting`` are of this process, ``elsewhere`` is what other replicas sent by their last reports.
    """

    __slots__ = (
        "_asked",
        "_first",
        "_last",
        "_rate_elsewhere",
        "_ratio",
        "_used_then",
        "_waiting_elsewhere",
        "caller",
        "elsewhere",
        "used",
        "waiting",
        "weight",
    )

    def __init__(self, caller: str, weight: int, now: float) -> None:
        self.caller: Final = caller
        self.weight = weight
        self.used = 0
        self.waiting = 0
        self.elsewhere = 0
        self._used_then = 0
        self._waiting_elsewhere = 0
        self._rate_elsewhere = 0.0
        self._ratio = 0.0
        self._asked = 0.0
        self._first = now
        self._last = now

    @property
    def level(self) -> float:
        """What the caller has used of the running window, by its weight."""
        return self.spent / self.weight

    @property
    def spent(self) -> int:
        """What the caller has used of the running window, here and elsewhere."""
        known = self.used + self.elsewhere
        return known + int((self.used - self._used_then) * self._ratio) if self._ratio else known

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

    def rate(self, now: float) -> float:
        """How often the caller asks here, a second."""
        seen = _MEMORY * -math.expm1((self._first - now) / _MEMORY)
        return self.asked(now) / (seen + _FIRST)

    def expected(self, now: float, seconds: float, *, here: bool = False) -> int:
        """How many requests the caller's recent rate lets expect at most in so many seconds, ``here`` or anywhere."""
        rate = self.rate(now) + (0.0 if here else self._rate_elsewhere)
        mean = rate * max(0.0, seconds - _LAST)
        return int(mean + _MARGIN * math.sqrt(mean))

    def wanted(self, now: float, seconds: float) -> int:
        """How many requests are waiting or to be expected in so many seconds, anywhere."""
        return self.waiting + self._waiting_elsewhere + self.expected(now, seconds)

    def gone(self, now: float) -> bool:
        """Whether nothing needs to be remembered of the caller."""
        return not self.waiting and not self._rate_elsewhere and self.asked(now) < _GONE

    def anew(self) -> None:
        """A window begins."""
        self.used = self.elsewhere = self._used_then = 0

    def heard(self, used: int | None, waiting: int, rate: float, now: float) -> None:
        """What the other replicas report; ``used`` is None where none of them reports of this window yet."""
        own = self.rate(now)
        self._waiting_elsewhere, self._rate_elsewhere = waiting, rate
        self._ratio = min(_MOST_ELSEWHERE, rate / own) if own > 0.0 else 0.0
        if used is not None:
            # What a replica sent that has ended meanwhile stays spent.
            self.elsewhere, self._used_then = max(self.elsewhere, used), self.used


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
            flow.anew()
            if flow.gone(now):
                del self._flows[flow.caller]

    def kept(self, flow: Flow, now: float, seconds: float) -> int:
        """How much of what is left in the window's last ``seconds`` is kept for callers below the flow's level."""
        kept = 0
        used, weight = flow.spent, flow.weight
        for other in self._flows.values():
            below = other.weight * used // weight - other.spent
            if below > 0 and other is not flow:
                kept += min(below, other.wanted(now, seconds))
        return kept

    def heard(
        self, running: Iterable[Mapping[str, CallerReport]], others: Iterable[Mapping[str, CallerReport]], now: float
    ) -> int:
        """What other replicas report: those in whose reports this window is ``running``, and the ``others``.

        Returns what the former sent in this window.
        """
        self.anew_at = -math.inf
        found: dict[str, list[float]] = {}
        for counts, callers in [*((1, each) for each in running), *((0, each) for each in others)]:
            for caller, report in callers.items():
                flow = self._flows.get(caller) or self.flow(caller, report.weight, now)
                mine = found.setdefault(flow.caller, [0, 0, 0, 0.0])
                mine[0] += counts
                mine[1] += report.used * counts
                mine[2] += report.waiting
                mine[3] += report.rate
        for flow in self._flows.values():
            known, used, waiting, rate = found.get(flow.caller, (0, 0, 0, 0.0))
            flow.heard(int(used) if known else None, int(waiting), rate, now)
        return int(sum(used for _, used, _, _ in found.values()))

    def report(self, now: float) -> dict[str, CallerReport]:
        """What is to be reported to other replicas: of the callers that ask here, those that ask most."""
        there = [flow for flow in self._flows.values() if flow.used or flow.waiting or flow.asked(now) >= _GONE]
        if len(there) > MOST_CALLERS:
            there = heapq.nlargest(MOST_CALLERS, there, key=lambda flow: flow.asked(now))
        return {flow.caller: CallerReport(flow.weight, flow.used, flow.waiting, flow.rate(now)) for flow in there}

    def share(self, flow: Flow, limit: int, now: float, seconds: float) -> int:
        """The flow's part of a limit, by its weight among the callers that still count; at least 1."""
        if now >= self.anew_at:
            self.reckon(now, seconds)
        weight = flow.weight
        return (limit * weight // self._weights if self._weights > weight else limit) or 1

    def reckon(self, now: float, seconds: float) -> int:
        """Reckon anew what all callers want in so many seconds; a moment old at most."""
        if now >= self.anew_at:
            self.anew_at = now + _ANEW
            there = [flow for flow in self._flows.values() if not flow.gone(now)]
            self._weights = sum(flow.weight for flow in there)
            self.wanted = sum(flow.wanted(now, seconds) for flow in there)
        return self.wanted
