"""Minutes of callers that share a key, without a socket and without waiting: the clock is a number."""

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.budgets.claims import Claim, RateBudget
from gateway.budgets.queue import FairQueue
from gateway.budgets.reports import CountReport
from gateway.core.budget import Reading
from gateway.core.catalog import Lane

NOW: Final = 1000.0
LANE: Final = Lane.READ


@dataclass(frozen=True)
class Arrival:
    """One request. ``at`` are seconds from the start, ``replica`` the number of the gateway that it comes to."""

    at: float
    caller: str
    replica: int = 0


@dataclass
class Count:
    """A count of Productlane's: it begins with the first request of a minute, and ``skew`` is its clock less ours."""

    limit: int
    skew: float = 0.0
    ends: float = -math.inf
    used: int = 0
    refused: int = 0

    def ask(self, now: float) -> tuple[bool, Reading, int]:
        """Whether a request is served, the reading on its answer, and how many are left."""
        at = now + self.skew
        if at >= self.ends:
            self.ends, self.used = at + 60, 0
        served = self.used < self.limit
        self.used += served
        self.refused += not served
        return served, Reading(self.limit, math.ceil(self.ends), self.ends - math.floor(at)), self.limit - self.used


@dataclass
class Replica:
    """One gateway's budget of the key, and its queue."""

    budget: RateBudget
    queue: FairQueue[tuple[Claim, float]] = field(default_factory=FairQueue)
    epoch: int = 0


@dataclass
class Minutes:
    """What came of the requests, by caller and minute."""

    served: list[Counter[str]]
    refused: list[Counter[str]]
    upstream_429: int = 0

    def total(self, caller: str, first: int = 0) -> int:
        """What a caller got, from a minute on."""
        return sum(minute[caller] for minute in self.served[first:])


def poisson(rates: Mapping[str, float], minutes: int, replicas: int = 1, seed: int = 1) -> list[Arrival]:
    """Callers that ask at random moments, so often a minute, each time at any replica."""
    draw = random.Random(seed)
    arrivals = []
    for caller, rate in rates.items():
        at = 0.0
        while (at := at + draw.expovariate(rate / 60)) < minutes * 60:
            arrivals.append(Arrival(at, caller, draw.randrange(replicas)))
    return arrivals


class _Run:
    def __init__(
        self,
        count: Count,
        weights: Mapping[str, int],
        replicas: int,
        minutes: int,
        latency: float,
        max_wait: float,
        seed: int,
    ) -> None:
        draw = random.Random(seed)
        self.count, self.weights, self.latency, self.max_wait = count, weights, latency, max_wait
        self.replicas = [Replica(RateBudget(spread=draw.random() * 0.2, chance=draw.random)) for _ in range(replicas)]
        self.result = Minutes([Counter() for _ in range(minutes + 1)], [Counter() for _ in range(minutes + 1)])
        self.reports: dict[int, dict[Lane, CountReport]] = {}
        self.events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self.numbers = itertools.count()

    def later(self, at: float, what: str, *parts: object) -> None:
        heapq.heappush(self.events, (at, next(self.numbers), what, parts))

    def serve(self, number: int, at: float) -> None:
        """What `Pool.serve` does: give what there is to those who are next."""
        replica, now = self.replicas[number], NOW + at
        while replica.queue.waiting(LANE) and replica.budget.left(LANE, now) > 0:
            if replica.epoch != replica.budget.windows[LANE].epoch:
                replica.epoch = replica.budget.windows[LANE].epoch
                replica.queue.reorder()
            head = replica.queue.head([LANE])
            if head is None or not head[0].take(now):
                break
            replica.queue.remove(head[0].flow, LANE, head)
            self.send(number, head[0], at)

    def send(self, number: int, claim: Claim, at: float) -> None:
        served, reading, remaining = self.count.ask(NOW + at + self.latency / 2)
        caller, minute = claim.flow.caller, int(at // 60)
        if served:
            self.result.served[minute][caller] += 1
        else:
            self.result.upstream_429 += 1
        self.later(at + self.latency, "answer", number, claim, served, reading, remaining)

    def arrive(self, number: int, caller: str, at: float) -> None:
        replica = self.replicas[number]
        claim = replica.budget.claim(LANE, caller, self.weights.get(caller, 1), NOW + at)
        claim.flow.arrived(NOW + at)
        if not replica.queue.length and claim.take(NOW + at):
            self.send(number, claim, at)
            return
        item = (claim, at + self.max_wait)
        replica.queue.push(claim.flow, LANE, item)
        self.later(at + self.max_wait, "leave", number, item)

    def leave(self, number: int, item: tuple[Claim, float], at: float) -> None:
        if self.replicas[number].queue.remove(item[0].flow, LANE, item):
            self.result.refused[int(at // 60)][item[0].flow.caller] += 1

    def answer(self, number: int, claim: Claim, served: bool, reading: Reading, remaining: int, at: float) -> None:
        claim.settle(NOW + at, reading, remaining)
        if not served:
            claim.block(NOW + at, reading.seconds or 0.0, empty=True)

    def exchange(self, number: int, at: float) -> None:
        budget = self.replicas[number].budget
        self.reports[number] = dict(budget.report(NOW + at))
        for lane, window in budget.windows.items():
            others = [counts for other, counts in self.reports.items() if other != number]
            window.heard(NOW + at, [counts[lane] for counts in others if lane in counts])
        self.replicas[number].queue.reorder()


def simulate(
    arrivals: Iterable[Arrival],
    limit: int,
    *,
    weights: Mapping[str, int] | None = None,
    replicas: int = 1,
    minutes: int = 1,
    reports: bool = False,
    latency: float = 0.05,
    max_wait: float = 5.0,
    seed: int = 1,
    skew: float = 0.0,
) -> Minutes:
    """Let requests come, wait at most so long, and be served; with ``reports``, replicas report once a second."""
    run = _Run(Count(limit, skew), weights or {}, replicas, minutes, latency, max_wait, seed)
    for arrival in arrivals:
        run.later(arrival.at, "arrive", arrival.replica, arrival.caller)
    for number in range(replicas):
        for tick in range(minutes * 600):
            run.later(tick / 10 + number / 100, "look", number)
        for second in range(minutes * 60 if reports else 0):
            run.later(second + number / replicas, "exchange", number)
    while run.events:
        at, _, what, parts = heapq.heappop(run.events)
        if what != "look":
            getattr(run, what)(*parts, at)
        assert isinstance(parts[0], int)
        run.serve(parts[0], at)
    return run.result
