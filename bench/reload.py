"""How long a reload of many policies holds up the loop, by hand: `python -m bench.reload [--policies 5000] [--runs 5]`.

A gateway runs in this process with so many policy files, and a probe wakes up each millisecond. Then one file changes,
then all of them. For each: seconds until the change is served, and the three longest gaps of the probe in milliseconds,
each with the CPU time that this process used in it: a gap with little of it is the machine's, not the reload's. A quiet
time is measured first.
"""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import uvloop

from bench.command import options
from bench.timing import gaps
from gateway.config.load import ConfigSource
from gateway.runtime.facts import Facts
from gateway.runtime.gateway import running
from gateway.runtime.parts import Parts
from gateway.telemetry.log import Log

POLICY = """caller: caller-{number}
authenticate: {{tokens: [sha256:{token:064x}]}}
scopes: [threads:read, contacts:read, companies:read]
endpoints:
  - POST /companies/{{id}}/merge
deny:
  - GET /threads/{{id}}
weight: {weight}
"""
CONFIG = """listen: 127.0.0.1:0
admin: unix:{folder}/admin.sock
upstream: {{url: http://127.0.0.1:9/api/v2}}
identity: {{prefetch: false}}
keys: {{main: {{secrets: [env:MAIN]}}}}
routes: [{{path: /**, keys: [main]}}]
"""


def write(folder: Path, number: int, weight: int) -> None:
    """One policy, put in its place whole."""
    path = folder / "policies" / f"{number:05}.yaml"
    path.with_suffix(".new").write_text(POLICY.format(number=number, token=number, weight=weight))
    path.with_suffix(".new").rename(path)


def show(name: str, seconds: float, found: list[tuple[float, float]]) -> None:
    """One line of the table."""
    longest = "   ".join(f"{gap * 1000:6.1f} ms ({cpu * 1000:5.1f} CPU)" for gap, cpu in found[:3])
    print(f"{name:10} {seconds:6.2f} s   {longest}", flush=True)


async def measure(folder: Path, count: int, runs: int) -> None:
    """The table."""
    log = Log(os.open(os.devnull, os.O_WRONLY), level="error")
    origin = ConfigSource(folder / "gateway.yaml", {"MAIN": "pl_v2_mainmainmainmain"})
    contents = origin.contents()
    began = time.perf_counter()
    gc.disable()
    snapshot = origin.load()
    print(f"{count} policies loaded in {time.perf_counter() - began:.2f} s")
    gc.freeze()
    gc.enable()
    async with running(lambda: Parts(origin, snapshot, contents, config="bench", log=log)) as gateway:
        await asyncio.sleep(1)
        await _table(gateway.parts.facts, folder, count, runs)
    log.close()


async def _table(facts: Facts, folder: Path, count: int, runs: int) -> None:

    def some(weight: int, numbers: Iterable[int]) -> None:
        for number in numbers:
            write(folder, number, weight)

    for run in range(1, runs + 1):
        end = time.perf_counter() + 3
        show("quiet", *await gaps(partial(lambda end: time.perf_counter() > end, end)))
        for name, numbers in (("one file", range(7, 8)), ("all files", range(count))):
            before = facts.snapshot
            await asyncio.to_thread(some, len(name) * 10 + run, numbers)
            show(name, *await gaps(partial(lambda before: facts.snapshot is not before, before)))
            await asyncio.sleep(3)


def main() -> None:
    """One run through all of it."""
    asked = options(__doc__, policies=5000, runs=3).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "gateway.yaml").write_text(CONFIG.format(folder=folder))
        for number in range(asked.policies):
            write(folder, number, 1)
        uvloop.run(measure(folder, asked.policies, asked.runs))


if __name__ == "__main__":
    main()
