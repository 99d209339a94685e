"""What size costs: CPU per request, memory and a scrape with 10, 1,000 and 5,000 of something, in one run, as Markdown.

    python -m bench.scaling [--sizes 10 1000 5000] [--rounds 5] [--only policies]

``policies``: so many callers with a policy each, of which one asks. ``callers``: the same, and all ask in turn, so that
there are as many series of metrics as well. ``endpoints``: so many in the catalog, of which the last is asked.
``connections``: so many callers' connections open, all of which ask. The cost of a request must not grow with the first
and third; with the others it grows as far as the processor's caches do not hold what each request then finds cold.
"""

import argparse
import hashlib
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
import yaml

from bench.latency import resident
from bench.peers.setups import Place, gateway_settings
from bench.peers.stage import CONNECTIONS, CORES, Running, free_port, started
from bench.peers.traffic import GET, TOKEN, load, upstream

_KINDS: Final = ("policies", "callers", "endpoints", "connections")


@dataclass
class Sized:
    """A gateway with so many of a kind: how it is asked, and the CPU seconds a request of each round."""

    kind: str
    size: int
    one: Running
    admin: int
    requests: Callable[[], Iterator[bytes]]
    cpu: list[float]

    @property
    def connections(self) -> int:
        return self.size if self.kind == "connections" else CONNECTIONS

    def turn(self, count: int) -> None:
        """So many requests, and more where there would be fewer than ten for each connection."""
        before, count = self.one.seconds(), max(count, 10 * self.connections)
        uvloop.run(load(self.one.port, count, self.connections, self.requests()))
        self.cpu.append((self.one.seconds() - before) / count)

    def scrape(self) -> float:
        """Milliseconds of CPU for a scrape of the metrics."""
        before = self.one.seconds()
        urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30).read()
        return (self.one.seconds() - before) * 1000


def gateway(kind: str, size: int, folder: Path, upstream_port: int) -> Sized:
    """A gateway that serves, with so many of a kind."""
    folder.mkdir()
    place, admin = Place(folder, free_port(), "http", upstream_port, folder), free_port()
    settings = gateway_settings(place)
    settings |= {"admin": f"127.0.0.1:{admin}"}
    settings |= {"limits": {"connections_per_address": 100_000}, "upstream": {"url": f"{place.url}/api/v2"}}
    requests: Callable[[], Iterator[bytes]] = lambda: itertools.repeat(GET)  # noqa: E731
    if kind in ("policies", "callers"):
        tokens = [f"{TOKEN}-{number}" for number in range(size)]
        for number, token in enumerate(tokens):
            digest = hashlib.sha256(token.encode()).hexdigest()
            text = f"caller: caller-{number}\nauthenticate: {{tokens: ['sha256:{digest}']}}\nscopes: [threads:read]\n"
            (folder / "policies" / f"caller-{number}.yaml").write_text(text)
        if kind == "callers":
            asked = [GET.replace(TOKEN.encode(), token.encode()) for token in tokens]
            requests = lambda: itertools.cycle(asked)  # noqa: E731
    elif kind == "endpoints":
        entries = [{"method": "GET", "path": f"/bench{n}/{{id}}", "scopes": ["threads:read"]} for n in range(size)]
        # A file of a catalog holds 256 kB at most.
        files = [folder / f"catalog{at}.yaml" for at in range(0, size, 1000)]
        for number, file in enumerate(files):
            file.write_text(yaml.safe_dump({"endpoints": entries[number * 1000 : (number + 1) * 1000]}))
        settings |= {"catalog": [str(file) for file in files]}
        last = GET.replace(b"/threads", b"/bench%d/one" % (size - 1))
        requests = lambda: itertools.repeat(last)  # noqa: E731
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path)]
    return Sized(kind, size, started(f"{kind} {size}", command, place.port), admin, requests, [])


@contextmanager
def gateways(kinds: list[str], sizes: list[int]) -> Iterator[list[Sized]]:
    """One for each kind and size, in front of one upstream."""
    here, there = multiprocessing.Pipe()
    responder = multiprocessing.Process(target=upstream, args=(there, None), daemon=True)
    responder.start()
    port, running = here.recv(), list[Sized]()
    try:
        with tempfile.TemporaryDirectory() as name:
            for kind in kinds:
                running += (gateway(kind, size, Path(name) / f"{kind}{size}", port) for size in sizes)
            yield running
    finally:
        for sized in running:
            sized.one.end()
        responder.terminate()


def main() -> None:
    """Run them all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000, help="requests a turn")
    parser.add_argument("--only", nargs="+", choices=_KINDS, default=_KINDS)
    options = parser.parse_args()
    os.sched_setaffinity(0, {CORES[0]})
    with gateways(options.only, options.sizes) as running:
        time.sleep(1)
        for number in range(options.rounds + 1):
            for sized in running:
                sized.turn(options.count)
                if not number:
                    sized.cpu.clear()
        print("| | size | CPU µs a request | × the smallest | memory MB | a scrape, CPU ms |")
        print("|---|---:|---:|---:|---:|---:|")
        for sized in running:
            least = next(other for other in running if other.kind == sized.kind)
            ratio = statistics.median(cpu / base for cpu, base in zip(sized.cpu, least.cpu, strict=True))
            cost, memory = statistics.median(sized.cpu) * 1e6, resident(sized.one.process.pid)
            print(f"| {sized.kind} | {sized.size:,} | {cost:.0f} | {ratio:.2f} | {memory:.0f} | {sized.scrape():.1f} |")


if __name__ == "__main__":
    main()
