"""What an honest caller waits beside each attack, and without it: p50 and p99 of its requests.

    python -m bench.abuse [SECONDS]      for how long each is measured; 5

A table of Markdown goes to standard output. Each attack runs from one process against a `serve` of its own.
"""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tests.support.honest import ATTACKER, HONEST, opened
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer, error
from tests.support.served import Served, serving
from tests.support.tls import House

TWO: Final[dict[str, Any]] = {"policies": [policy("honest", HONEST), policy("attacker", ATTACKER)]}
POST: Final = ("POST", "/api/v2/threads")
Attack = Callable[[Served], Awaitable[None]]


async def nothing(_: Served) -> None:
    await asyncio.Event().wait()


def held(count: int, said: bytes, *, admin: bool = False) -> Attack:
    """So many connections that say this and no more; one that is closed is opened again."""

    async def one(served: Served) -> None:
        while True:
            with contextlib.suppress(OSError):
                caller = await served.connect(served.admin if admin else "")
                caller.writer.write(said)
                await caller.reader.read()
                await caller.close()
            await asyncio.sleep(1)

    async def attack(served: Served) -> None:
        await asyncio.gather(*[one(served) for _ in range(count)])

    return attack


async def tiny_chunks(served: Served) -> None:
    while True:
        attacker = await opened(served, head("POST", "/api/v2/webhooks", "Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            while True:
                attacker.writer.write(b"1\r\nx\r\n" * 1_000)
                await attacker.writer.drain()


def asked_again(*heads: bytes) -> Attack:
    """Eight connections that send these requests, one after another."""

    async def one(served: Served) -> None:
        while True:
            for data in heads:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    caller = await opened(served, data)
                    await caller.reader.readuntil(b"\r\n\r\n")
                    await caller.close()

    async def attack(served: Served) -> None:
        await asyncio.gather(*[one(served) for _ in range(8)])

    return attack


async def pages(served: Served) -> None:
    while True:
        await asyncio.gather(*[served.ask_admin(path) for path in ("/status", "/status.json", "/metrics")])


def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
    if b"hang-up" in arrival.target:
        writer.transport.abort()
    else:
        writer.write(error(403, "scope_required") if b"scope" in arrival.target else answer())


HALF: Final = b"GET /api/v2/threads HTTP/1.1\r\nX: "
LARGE: Final = HALF + b"x" * 56_000
ATTACKS: Final[dict[str, Attack]] = {
    "S1 half a head, 300 to the admin listener": held(300, b"GET /metrics HTTP/1.1\r\nX: ", admin=True),
    "S1 loops on the admin pages": pages,
    "S2 chunks of a byte": tiny_chunks,
    "S4a 200 bodies that do not come": held(200, head(*POST, "Content-Length: 100", token=ATTACKER) + b"x"),
    "S5 requests that the upstream hangs up on": asked_again(head("GET", "/api/v2/threads?hang-up", token=ATTACKER)),
    "S7 800 unfinished heads of 56 kB": held(800, LARGE),
    "S12 refused scopes": asked_again(head("GET", "/api/v2/threads?scope", token=ATTACKER)),
    "S16 new names of fields": asked_again(
        *[head("GET", "/api/v2/threads", f"X-{n}-{'n' * 2_000}: 1", token=ATTACKER) for n in range(200)]
    ),
    "unknown tokens": asked_again(*[head(token=f"plgw_unknown-{n:020d}") for n in range(200)]),
}
OVER_TLS: Final[dict[str, Attack]] = {
    "S6 300 connections without a ClientHello": held(300, b""),
    "S6 handshakes that fail": asked_again(b"GET / HTTP/1.1\r\n\r\n"),
}


async def honest(served: Served, seconds: float, house: House | None) -> list[float]:
    """The milliseconds of requests on one connection after another, ten on each."""
    host, _, port = served.traffic.rpartition(":")
    tls: dict[str, Any] = {"ssl": house.client(), "server_hostname": "localhost"} if house else {}
    took: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0), **tls)
        for _ in range(10):
            began = time.perf_counter()
            writer.write(head(token=HONEST))
            assert (await reader.readuntil(b'{"ok":true}')).startswith(b"HTTP/1.1 200 ")
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.005)
        writer.close()
    return took


@contextlib.asynccontextmanager
async def gateway(house: House | None, folder: Path, upstream: Upstream) -> AsyncIterator[Served]:
    settings: dict[str, Any] = {"log": {"level": "info"}, **TWO}
    if house:
        settings["tls"] = {name: path for name, path in house.tls.items() if name != "client_ca"}
    async with serving(folder, upstream, **settings) as served:
        yield served


async def measured(attack: Attack, seconds: float, *, over_tls: bool) -> tuple[float, float]:
    """p50 and p99 of an honest caller beside an attack."""
    upstream = Upstream()
    upstream.reply = reply
    await upstream.start()
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder)) if over_tls else None
        async with gateway(house, Path(folder), upstream) as served:
            await honest(served, 0.5, house)
            attacking = asyncio.ensure_future(attack(served))
            await asyncio.sleep(1)
            took = await honest(served, seconds, house)
            attacking.cancel()
            await asyncio.gather(attacking, return_exceptions=True)
    await upstream.stop()
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


async def main(seconds: float) -> None:
    """Print the table."""
    print("| attack | p50, ms | p99, ms |\n|---|---|---|")
    for over_tls, attacks in ((False, {"none": nothing, **ATTACKS}), (True, {"none, over TLS": nothing, **OVER_TLS})):
        for name, attack in attacks.items():
            p50, p99 = await measured(attack, seconds, over_tls=over_tls)
            print(f"| {name} | {p50:.1f} | {p99:.1f} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
