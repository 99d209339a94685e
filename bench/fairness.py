"""Callers that share one key: `python -m bench.fairness [--minutes 3] [--only NAME] [--write]`.

Each scenario has a key of its own at one simulator on loopback, real minutes, and a limit of 100 reads a minute.
Callers ask at random moments, by a Poisson process of a fixed seed, and do not repeat what is refused. Compared are no
pacing at all, one queue for all callers (the same code, with one caller), and the shares of `gateway.budgets`. All
scenarios run at the same time, so a run takes the given number of minutes, and one more. With ``--write`` the figures
go to `docs/fairness.svg` and to the table of `docs/budgets.md`. For scenarios with a Redis a `redis-server` is started.
"""

import argparse
import asyncio
import contextlib
import json
import random
import socket
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
from yarl import URL

from bench.fairness_plot import plot, table
from gateway.budgets.pacing import Pacer
from gateway.budgets.sharing import Sharing
from gateway.config.assembly.catalog import load_catalog
from gateway.config.schema.gateway import Pacing
from gateway.config.store import Redis
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Refused
from gateway.core.secret import Secret
from gateway.simulator import Limits, SimulatedKey, Simulator

DOCS: Final = Path(__file__).parent.parent / "docs"
LIMIT: Final = 100
BEGIN: Final = "<!-- python -m bench.fairness --write: begin -->"
END: Final = "<!-- python -m bench.fairness --write: end -->"
STRATEGIES: Final = ("none", "fifo", "shares")
_FIELDS: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "Date")


class Chosen(NamedTuple):
    """The key of one scenario."""

    key: str
    secret: Secret


@dataclass(frozen=True)
class Asker:
    """One caller: so many requests a minute at random moments, or all of them ``at_once``, after so many seconds."""

    name: str
    rate: int
    weight: int = 1
    at_once: float | None = None


@dataclass(frozen=True)
class Scenario:
    """What is tried. ``ahead`` is the gateways' clock less the upstream's, ``spent`` what others used before."""

    name: str
    askers: tuple[Asker, ...]
    strategy: str = "shares"
    replicas: int = 1
    redis: bool = False
    ahead: float = 0.0
    rounds_down: bool = False
    max_wait: float = 5.0
    max_queue: int = 1000
    spent: int = 0


@dataclass
class Seen:
    """What came of a scenario's requests, by caller; seconds that they waited for budget."""

    asked: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    upstream_429: Counter[str] = field(default_factory=Counter)
    waits: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    in_vain: list[float] = field(default_factory=list)
    order: list[str] = field(default_factory=list)


class Run:
    """One scenario against its key. The callers' requests go to the replicas in turn."""

    def __init__(
        self, scenario: Scenario, chosen: Chosen, session: aiohttp.ClientSession, url: str, redis: Redis | None
    ) -> None:
        self.scenario: Final = scenario
        self.seen: Final = Seen()
        self._chosen: Final = chosen
        self._session: Final = session
        self._url: Final = URL(url + "/threads?limit=1", encoded=True)
        self._random: Final = random.Random(scenario.name)
        self._pacing: Final = Pacing(max_wait=scenario.max_wait, max_queue=scenario.max_queue)
        self._pacers: Final = [Pacer(wall=lambda: time.time() + scenario.ahead) for _ in range(scenario.replicas)]
        store = redis if scenario.redis else None
        self._sharings: Final = [Sharing(store, pacer) for pacer in self._pacers]

    async def go(self, minutes: float) -> Seen:
        """Let all callers ask for so long, and wait for the last answers."""
        for _ in range(self.scenario.spent):
            await self._send()
        sharing = [asyncio.create_task(one.run()) for one in self._sharings]
        async with asyncio.TaskGroup() as group:
            for asker in self.scenario.askers:
                group.create_task(self._ask(asker, minutes * 60, group))
        for task, one in zip(sharing, self._sharings, strict=True):
            task.cancel()
            await one.close()
        return self.seen

    async def _ask(self, asker: Asker, seconds: float, group: asyncio.TaskGroup) -> None:
        if asker.at_once is not None:
            await asyncio.sleep(asker.at_once)
            for _ in range(asker.rate):
                group.create_task(self._request(asker))
            return
        loop = asyncio.get_running_loop()
        at = loop.time()
        end = at + seconds
        while (at := at + self._random.expovariate(asker.rate / 60)) < end:
            await asyncio.sleep(at - loop.time())
            group.create_task(self._request(asker))

    async def _request(self, asker: Asker) -> None:
        seen, name = self.seen, asker.name
        seen.asked[name] += 1
        if self.scenario.strategy == "none":
            self._count(name, (await self._send())[0], 0.0)
            return
        pacer = self._pacers[self._random.randrange(len(self._pacers))]
        policy = Policy(name, weight=asker.weight) if self.scenario.strategy == "shares" else Policy("all")
        began = time.monotonic()
        try:
            lease = pacer.take(self._chosen, Lane.READ, policy)
            lease = lease or await pacer.wait(self._chosen, Lane.READ, policy, self._pacing)
        except Refused:
            seen.refused[name] += 1
            seen.in_vain.append(time.monotonic() - began)
            return
        waited = time.monotonic() - began
        lease.sent()
        status, fields = await self._send()
        lease.answered(status, fields)
        self._count(name, status, waited)

    def _count(self, name: str, status: int, waited: float) -> None:
        (self.seen.upstream_429 if status == 429 else self.seen.served)[name] += 1
        if status != 429:
            self.seen.waits[name].append(waited)
            self.seen.order.append(name)

    async def _send(self) -> tuple[int, dict[bytes, list[bytes]]]:
        headers = {"Authorization": f"Bearer {self._chosen.secret.reveal()}"}
        async with self._session.get(self._url, headers=headers) as answer:
            await answer.read()
            found = {name.lower(): answer.headers[name] for name in _FIELDS if name in answer.headers}
        fields = {name.encode(): [value.encode()] for name, value in found.items()}
        if self.scenario.rounds_down:
            fields[b"x-ratelimit-reset"] = [b"%d" % (int(fields[b"x-ratelimit-reset"][0]) - 1)]
        return answer.status, fields


def entitled(asked: dict[str, int], weights: dict[str, int], whole: float) -> dict[str, float]:
    """The weighted max-min fair shares of what there is: nobody gets more than it asks, the rest is by weight."""
    shares: dict[str, float] = {}
    while open_ := {name: weights[name] for name in asked if name not in shares}:
        level = (whole - sum(shares.values())) / sum(open_.values())
        content = {name: float(asked[name]) for name, weight in open_.items() if asked[name] <= weight * level}
        if not content:
            return shares | {name: weight * level for name, weight in open_.items()}
        shares |= content
    return shares


def jain(scenario: Scenario, seen: Seen, minutes: float) -> float:
    """Jain's index (1984) of what callers got of their fair shares: 1 is fair, 1/n is all for one."""
    weights = {asker.name: asker.weight for asker in scenario.askers}
    fair = entitled(seen.asked, weights, LIMIT * minutes)
    got = [seen.served[name] / share for name, share in fair.items() if share]
    squares = len(got) * sum(each * each for each in got)
    return sum(got) ** 2 / squares if squares else 0.0


def figures(scenario: Scenario, seen: Seen, minutes: float) -> dict[str, object]:
    """One row of the table."""
    served, refused_there = seen.served.total(), seen.upstream_429.total()
    waits = sorted(seen.waits.get("modest", []))
    return {
        "scenario": scenario.name,
        "strategy": scenario.strategy,
        "replicas": scenario.replicas,
        "served": dict(seen.served),
        "asked": dict(seen.asked),
        "upstream_429": refused_there,
        "upstream_429_percent": round(100 * refused_there / max(1, served + refused_there), 1),
        "budget_used_percent": round(100 * min(1.0, served / (LIMIT * minutes)), 1),
        "jain": round(jain(scenario, seen, minutes), 3),
        "modest_p99_wait": round(waits[min(len(waits) - 1, int(len(waits) * 0.99))], 2) if waits else None,
        "refused_after": round(sum(seen.in_vain) / len(seen.in_vain), 2) if seen.in_vain else None,
        "modest_in_first_40": sum(name == "modest" for name in seen.order[LIMIT : LIMIT + 40]),
    }


def scenarios() -> list[Scenario]:
    """All that is tried."""
    beside = (Asker("greedy", 960), Asker("modest", 30))
    equal = (Asker("a", 150), Asker("b", 150))
    weighted = (Asker("two", 150, weight=2), Asker("one", 150))
    found = [Scenario("greedy beside modest", beside, strategy) for strategy in STRATEGIES]
    found += [Scenario(f"weights 2 and 1, wait {wait:g} s", weighted, max_wait=wait) for wait in (0.0, 5.0, 30.0)]
    found += [Scenario("equal callers", equal, strategy) for strategy in STRATEGIES]
    found += [Scenario("four replicas", equal, strategy, replicas=4) for strategy in STRATEGIES]
    found += [Scenario("four replicas, Redis", equal, replicas=4, redis=True)]
    found += [Scenario("greedy beside modest, four replicas", beside, one, replicas=4) for one in STRATEGIES]
    found += [Scenario("greedy beside modest, four replicas, Redis", beside, replicas=4, redis=True)]
    found += [Scenario("weights 2 and 1, four replicas, Redis", weighted, replicas=4, redis=True)]
    found += [
        Scenario(f"clock {ahead:+g} s, reset rounded {'down' if down else 'up'}", equal, ahead=ahead, rounds_down=down)
        for ahead in (-5.0, 1.0, 5.0)
        for down in (False, True)
    ]
    found += [Scenario("restart, budget spent", equal, spent=LIMIT)]
    late = (Asker("modest", 40), Asker("greedy", 1000, at_once=56.0))
    found += [
        Scenario(f"1000 at once, 4 s before the end{where}", late, replicas=count, max_wait=5.3, spent=1)
        for count, where in ((1, ""), (4, ", four replicas"))
    ]
    at_once = (Asker("greedy", 1000, at_once=0.0), Asker("modest", 20, at_once=5.0))
    found += [Scenario("1000 at once, then 20", at_once, s, max_wait=150, max_queue=2000) for s in STRATEGIES[1:]]
    return found


@contextlib.asynccontextmanager
async def redis_server() -> AsyncIterator[Redis]:
    """A Redis on a free port of loopback, in memory only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, "--logfile", "/dev/null")
        process = await asyncio.create_subprocess_exec("redis-server", *options)
        try:
            yield Redis("127.0.0.1", port)
        finally:
            process.terminate()
            await process.wait()


async def measure(chosen: Sequence[Scenario], minutes: float) -> list[dict[str, object]]:
    """Run scenarios side by side, each with a key of its own."""
    catalog = load_catalog()
    secrets = [Secret(f"pl_v2_fairness{number:04d}") for number in range(len(chosen))]
    limits = Limits(reads=LIMIT, burst=12)
    keys = [SimulatedKey(secret.reveal(), frozenset(catalog.scopes)) for secret in secrets]
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(catalog, keys, limits=limits))
        redis = None
        if any(one.redis for one in chosen):
            redis = await stack.enter_async_context(redis_server())
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        runs = [
            Run(one, Chosen("main", secret), session, simulator.url, redis)
            for one, secret in zip(chosen, secrets, strict=True)
        ]
        seen = await asyncio.gather(*(run.go(minutes) for run in runs))
    return [figures(run.scenario, each, minutes) for run, each in zip(runs, seen, strict=True)]


def main() -> None:
    """One run, printed as a table and, if asked for, drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/")
    options = parser.parse_args()
    rows = asyncio.run(measure([one for one in scenarios() if options.only in one.name], options.minutes))
    for row in rows:
        print(json.dumps(row))
    if options.write:
        (DOCS / "fairness.svg").write_text(plot(rows), "utf-8")
        page = DOCS / "budgets.md"
        begin, _, rest = page.read_text("utf-8").partition(BEGIN)
        page.write_text(f"{begin}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
