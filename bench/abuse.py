"""What an honest caller waits beside each attack, and without it: p50 and p99 of its requests.

    python -m bench.abuse [SECONDS] [--write]      for how long each is measured; 5

A table of Markdown goes to standard output, and with ``--write`` into ``docs/limits.md``. The gateway has a core of its
own, and a process for each attack; the upstream, the attacker and the honest caller are processes on the other core.
"""

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from tests.support.honest import ATTACKER, HONEST
from tests.support.in_process import policy
from tests.support.raw_caller import Caller, ask, connect, head
from tests.support.recording import Arrival, Upstream, answer, error
from tests.support.served import serving
from tests.support.tls import House

PAGE: Final = Path(__file__).parents[1] / "docs" / "limits.md"
CORES: Final = sorted(os.sched_getaffinity(0))
TWO: Final[dict[str, Any]] = {
    "policies": [policy("honest", HONEST), policy("attacker", ATTACKER)], "log": {"level": "info"}
}  # fmt: skip
POST: Final = ("POST", "/api/v2/threads")
TINY: Final = b"1\r\nx\r\n" * 1_000
# Of an attack: the addresses of the traffic and the admin listener.
Attack = Callable[[str, str], Coroutine[Any, Any, None]]


async def opened(address: str, data: bytes) -> Caller:
    caller = await connect(address)
    caller.writer.write(data)
    return caller


def held(count: int, said: bytes, *, admin: bool = False, again: float = 1.0) -> Attack:
    """So many connections that say this and no more; one that is closed is opened again after so many seconds."""

    async def one(address: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                caller = await opened(address, said)
                await caller.reader.read()
                await caller.close()
            await asyncio.sleep(again)

    async def attack(traffic: str, administration: str) -> None:
        await asyncio.gather(*[one(administration if admin else traffic) for _ in range(count)])

    return attack


def tiny_chunks(target: str) -> Attack:
    async def attack(traffic: str, _admin: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                attacker = await opened(traffic, head("POST", target, "Transfer-Encoding: chunked", token=ATTACKER))
                while True:
                    attacker.writer.write(TINY)
                    await attacker.writer.drain()

    return attack


def taken(count: int, target: str, size: int, pause: float) -> Attack:
    """So many answers, taken so many bytes at a time, with a pause between."""

    async def one(traffic: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                caller = await opened(traffic, head("GET", target, token=ATTACKER))
                while await caller.reader.read(size):  # noqa: ASYNC110 - it takes slowly
                    await asyncio.sleep(pause)
                await caller.close()

    async def attack(traffic: str, _admin: str) -> None:
        await asyncio.gather(*[one(traffic) for _ in range(count)])

    return attack


def asked_again(*heads: bytes, count: int = 8) -> Attack:
    """So many connections that send these requests, one after another."""

    async def one(traffic: str) -> None:
        for data in itertools.cycle(heads):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                caller = await opened(traffic, data)
                await caller.reader.readuntil(b"\r\n\r\n")
                await caller.close()

    async def attack(traffic: str, _admin: str) -> None:
        await asyncio.gather(*[one(traffic) for _ in range(count)])

    return attack


async def pages(_traffic: str, admin: str) -> None:
    heads = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in ("/status", "/status.json", "/metrics")]
    while True:
        await asyncio.gather(*[ask(admin, one.encode()) for one in heads])


async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
    if b"hang-up" in arrival.target:
        writer.transport.abort()
    elif b"tiny" in arrival.target:
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(TINY)
                await writer.drain()
    elif b"large" in arrival.target:
        writer.write(answer(body=b"x" * 8_000_000))
    else:
        writer.write(error(403, "scope_required") if b"scope" in arrival.target else answer())


HALF: Final = b"GET /api/v2/threads HTTP/1.1\r\nX: "
NAMES: Final = [head("GET", "/api/v2/threads", f"X-{n}-{'n' * 2_000}: 1", token=ATTACKER) for n in range(200)]
ATTACKS: Final[dict[str, Attack]] = {
    "none": held(0, b""),
    "S1 300 halves of a head to the admin listener, reopened after 50 ms": held(300, HALF, admin=True, again=0.05),
    "S1 loops on the admin pages": pages,
    "S2 chunks of a byte, to a refused endpoint": tiny_chunks("/api/v2/webhooks"),
    "S2 chunks of a byte, to an allowed endpoint": tiny_chunks("/api/v2/threads"),
    "S4a 200 bodies that do not come": held(200, head(*POST, "Content-Length: 100", token=ATTACKER) + b"x"),
    "S4b 100 answers of 8 MB, taken at 64 bytes a second": taken(100, "/api/v2/threads?large", 64, 1.0),
    "S5 requests that the upstream hangs up on": asked_again(head("GET", "/api/v2/threads?hang-up", token=ATTACKER)),
    "S7 800 unfinished heads of 56 kB": held(800, HALF + b"x" * 56_000),
    "S11 1,100 writes at a time that wait for budget": asked_again(
        head(*POST, "Content-Length: 0", token=ATTACKER), count=1_100
    ),
    "S12 refused scopes": asked_again(head("GET", "/api/v2/threads?scope", token=ATTACKER)),
    "S16 new names of fields": asked_again(*NAMES),
    "unknown tokens": asked_again(*[head(token=f"plgw_unknown-{n:020d}") for n in range(200)]),
    "8 answers in chunks of a byte without end": taken(8, "/api/v2/threads?tiny", 1 << 16, 0.0),
}
OVER_TLS: Final[dict[str, Attack]] = {
    "none, over TLS": held(0, b""),
    "S6 300 connections without a ClientHello": held(300, b""),
    "S6 handshakes that fail": asked_again(b"GET / HTTP/1.1\r\n\r\n"),
}


async def honest(address: str, seconds: float, house: House | None) -> tuple[list[float], int]:
    """The milliseconds of requests, ten on a connection after another; how many were not answered 200."""
    host, _, port = address.rpartition(":")
    tls: dict[str, Any] = {"ssl": house.client(), "server_hostname": "localhost"} if house else {}
    took: list[float] = []
    served, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0), **tls)
        caller = Caller(reader, writer)
        for _ in range(10):
            began = time.perf_counter()
            with contextlib.suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError):
                await caller.send(head(token=HONEST))
                served += (await caller.response()).status == 200
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.005)
        await caller.close()
    return took, len(took) - served


class Forgetful(Upstream):
    """Keeps nothing of what it gets, so that no request costs more than the one before."""

    async def _body(self, arrival: Arrival, reader: asyncio.StreamReader) -> tuple[bytes, bool]:
        end = b""
        self.received.clear()
        self.arrivals.clear()
        chunked = bool(arrival.all("Transfer-Encoding"))
        while chunked and end != b"0\r\n\r\n" and (piece := await reader.read(1 << 16)):
            end = (end + piece)[-5:]
        return b"", True


def upstream_process(there: Connection) -> None:
    async def run() -> None:
        upstream = Forgetful()
        upstream.reply = reply
        await upstream.start()
        there.send(upstream.url)
        await asyncio.Event().wait()

    asyncio.run(run())


def attacker_process(name: str, traffic: str, admin: str) -> None:
    asyncio.run((ATTACKS | OVER_TLS)[name](traffic, admin))


@contextlib.contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[None]:
    one = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    one.start()
    try:
        yield
    finally:
        one.kill()
        one.join(10)


async def measured(name: str, seconds: float) -> tuple[float, float, int]:
    """p50 and p99 in ms of an honest caller beside an attack, and how many of its requests failed."""
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder, process(upstream_process, there):
        house = House(Path(folder)) if name in OVER_TLS else None
        files = house.tls.items() if house else ()
        tls: dict[str, Any] = {"tls": {one: path for one, path in files if one != "client_ca"}} if house else {}
        upstream = Upstream()
        upstream.url = await asyncio.to_thread(here.recv)
        async with serving(Path(folder), upstream, **TWO, **tls) as served:
            for thread in os.listdir(f"/proc/{served.process.pid}/task"):  # noqa: PTH208 - at once
                os.sched_setaffinity(int(thread), {CORES[0]})
            await honest(served.traffic, 0.5, house)
            with process(attacker_process, name, served.traffic, served.admin):
                await asyncio.sleep(2)
                took, failed = await honest(served.traffic, seconds, house)
    return statistics.median(took), statistics.quantiles(took, n=100)[98], failed


def main(seconds: float, *, write: bool) -> None:
    """Print the table."""
    os.sched_setaffinity(0, {CORES[-1]})
    rows = ["| attack | p50, ms | p99, ms | not 200 |", "|---|---|---|---|"]
    print(*rows, sep="\n")
    for name in ATTACKS | OVER_TLS:
        p50, p99, failed = asyncio.run(measured(name, seconds))
        rows.append(f"| {name} | {p50:.1f} | {p99:.1f} | {failed} |")
        print(rows[-1], flush=True)
    if write:
        before, mark, _ = PAGE.read_text().partition("<!-- attacks -->\n")
        PAGE.write_text(before + mark + "\n".join([*rows, "<!-- /attacks -->", ""]))


if __name__ == "__main__":
    main(float(next((word for word in sys.argv[1:] if word != "--write"), 5.0)), write="--write" in sys.argv)
