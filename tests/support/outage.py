"""A resolver that fails behind a real gateway.

`outage` runs this module as a program in a network and mount namespace of its own, where port 53 of 127.0.0.1 and
``/etc/resolv.conf`` are ours. There it starts a resolver, an upstream with a name and a certificate for it, and the
real command, and prints what callers saw as JSON. It takes root on Linux, ``unshare`` and ``ip``; `obstacle` says what
lacks.
"""

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import trustme

from gateway.net.addresses import FRESH, PATIENCE, PAUSE
from tests.support.command import ROOT, environment, run
from tests.support.deadline import eventually
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.served import Served, serving

NAME: Final = "productlane.test"
FAULTS: Final = ("silent", "servfail", "nxdomain")
_ENTER: Final = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"'
# RFC 1035 section 4.1.1: an answer to a recursive question, with its response code.
_CODES: Final = {"answer": 0x8180, "servfail": 0x8182, "nxdomain": 0x8183}
# How long the upstream takes for an answer, so that simultaneous requests need several connections.
_SLOW: Final = 0.3


def _contained(folder: Path, *command: str) -> list[str]:
    settings = folder / "resolv.conf"
    settings.write_text("nameserver 127.0.0.1\n")
    return ["unshare", "--net", "--mount", "sh", "-c", _ENTER, str(settings), *command]


def obstacle(folder: Path) -> str:
    """Why no namespace can be made here; empty if one can."""
    for tool in ("unshare", "ip", "mount"):
        if shutil.which(tool) is None:
            return f"there is no `{tool}`"
    tried = subprocess.run(_contained(folder, "true"), capture_output=True, text=True, timeout=20)
    return "" if tried.returncode == 0 else f"no namespace may be made: {tried.stderr.strip()}"


def outage(folder: Path, rounds: float) -> dict[str, Any]:
    """What `_warm` and `_cold` saw, each fault lasting ``rounds`` seconds."""
    command = _contained(folder, sys.executable, "-m", "tests.support.outage", str(rounds))
    run = subprocess.run(
        command, cwd=ROOT, env=environment(checked=False), capture_output=True, text=True, timeout=120 + 10 * rounds
    )
    if run.returncode:
        raise RuntimeError(run.stderr)
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen


class Resolver(asyncio.DatagramProtocol):
    """Says that every name leads to 127.0.0.1, or fails as ``mode`` says."""

    def __init__(self) -> None:
        self.mode = "answer"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self.mode == "silent":
            return
        question = data[12 : data.index(0, 12) + 5]
        has = self.mode == "answer" and question[-4:-2] == b"\0\1"
        counts = bytes((0, 1, 0, has, 0, 0, 0, 0))
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + bytes((127, 0, 0, 1)) if has else b""
        reply = data[:2] + _CODES[self.mode].to_bytes(2) + counts + question + record
        self._transport.sendto(reply, address)  # type: ignore[attr-defined]


class Load:
    """Requests on live connections, and questions to the admin listener, one after another for as long as it lasts."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.statuses: Counter[int] = Counter()
        self.slowest_probe = 0.0
        self.probes = 0

    async def _live(self) -> None:
        caller = await self._served.connect()
        with contextlib.closing(caller.writer):
            while True:
                await caller.send(head("GET", "/api/v2/threads?live"))
                self.statuses[(await caller.response()).status] += 1
                await asyncio.sleep(0.02)

    async def _probe(self) -> None:
        """The time that `/livez` takes is the lag of the loop."""
        caller = await self._served.connect(self._served.admin)
        with contextlib.closing(caller.writer):
            while True:
                began = time.monotonic()
                await caller.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                await caller.response()
                self.slowest_probe = max(self.slowest_probe, time.monotonic() - began)
                self.probes += 1
                await asyncio.sleep(0.01)

    def told(self) -> dict[str, int]:
        return {str(status): count for status, count in self.statuses.items()}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        tasks = [asyncio.create_task(work) for work in (self._live(), self._live(), self._probe())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended


async def _new(served: Served, count: int) -> list[tuple[int, float, str]]:
    """Requests on new upstream connections: status, seconds and the error in ``Proxy-Status``."""

    async def one(number: int) -> tuple[int, float, str]:
        began = time.monotonic()
        response = await served.ask(f"/api/v2/threads?slow={number}")
        error = str(response.get("proxy-status")).partition("error=")[2].partition(";")[0]
        return response.status, time.monotonic() - began, error

    return await asyncio.gather(*(one(number) for number in range(count)))


def _summary(requests: list[tuple[int, float, str]]) -> dict[str, Any]:
    return {
        "statuses": Counter(str(status) for status, _, _ in requests),
        "errors": sorted({error for _, _, error in requests if error}),
        "slowest": round(max(seconds for _, seconds, _ in requests), 3),
    }


def _said(served: Served, event: str) -> int:
    return sum(line.get("event") == event for line in served.lines())


async def _until_said(served: Served, event: str) -> float:
    """Ask until there is a line of this event; the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(FRESH + PATIENCE + PAUSE + 5):
        while not _said(served, event):
            await _new(served, 1)
    return round(time.monotonic() - began, 3)


async def _warm(served: Served, upstream: Upstream, resolver: Resolver, rounds: float) -> dict[str, Any]:
    """A gateway that has known the name: the faults one after another, then the resolver works again."""
    seen: dict[str, Any] = {}
    await _new(served, 1)
    resolver.mode = FAULTS[0]
    async with Load(served).running() as load:
        seen["noticed"] = await _until_said(served, "name_unresolved")
    seen["unnoticed"] = {"slowest_probe": round(load.slowest_probe, 4), "live": load.told()}
    for fault in FAULTS:
        resolver.mode = fault
        asked = len(upstream.lookups)
        async with Load(served).running() as load:
            ends = time.monotonic() + rounds
            connections = upstream.connections
            requests = []
            while time.monotonic() < ends:
                requests += await _new(served, 10)
                await served.ask("/api/v2/me")
        seen[fault] = _summary(requests) | {
            "live": load.told(),
            "probes": load.probes,
            "slowest_probe": round(load.slowest_probe, 4),
            "connections": upstream.connections - connections,
            "identities": len(upstream.lookups) - asked,
        }
    resolver.mode = "answer"
    seen["back"] = await _until_said(served, "name_resolves")
    seen["turns"] = _said(served, "name_unresolved"), _said(served, "name_resolves")
    return seen


async def _cold(served: Served, resolver: Resolver, rounds: float) -> dict[str, Any]:
    """A gateway that never knew the name: the faults, an end of them, and another silence in which it is ended."""
    seen: dict[str, Any] = {}
    for fault in FAULTS:
        resolver.mode = fault
        requests = []
        ends = time.monotonic() + rounds
        while time.monotonic() < ends:
            requests += await _new(served, 5)
            await asyncio.sleep(0.1)
        seen[fault] = _summary(requests)
    resolver.mode = "answer"
    began = time.monotonic()

    async def served_again() -> bool:
        return (await served.ask()).status == 200

    await eventually(served_again)
    seen["back"] = round(time.monotonic() - began, 3)
    return seen


async def _ended(served: Served) -> dict[str, Any]:
    """End a gateway whose look-up hangs."""
    status = (await served.ask()).status
    began = time.monotonic()
    done = await served.end()
    return {"status": status, "exit": done.status, "seconds": round(time.monotonic() - began, 3), "said": done.err}


async def _checked(config: Path) -> dict[str, Any]:
    """`check --online` while the look-up hangs."""
    began = time.monotonic()
    done = await run("check", "--online", "--config", config)
    return {"exit": done.status, "seconds": round(time.monotonic() - began, 3), "said": done.out + done.err}


async def main(rounds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    _, resolver = await loop.create_datagram_endpoint(Resolver, local_addr=("127.0.0.1", 53))
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    upstream = Upstream()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"slow" in arrival.target:
            await asyncio.sleep(_SLOW)
            # So that the next one needs a connection, and an address, again.
            writer.write(answer(fields=("Connection: close",)))
        else:
            writer.write(answer())

    upstream.reply = reply
    await upstream.start(ssl=context)
    upstream.url = upstream.url.replace("127.0.0.1", NAME)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        settings = {"url": upstream.url, "ca": str(folder / "ca.pem")}
        identity = {"prefetch": False, "ttl": "1s"}
        seen: dict[str, Any] = {}
        async with serving(folder / "warm", upstream, upstream=settings, identity=identity) as served:
            seen["warm"] = await _warm(served, upstream, resolver, rounds)
        async with serving(folder / "cold", upstream, upstream=settings) as served:
            seen["cold"] = await _cold(served, resolver, rounds)
        resolver.mode = "silent"
        async with serving(folder / "ended", upstream, upstream=settings) as served:
            seen["ended"] = await _ended(served)
        seen["checked"] = await _checked(folder / "ended" / "gateway.yaml")
    await upstream.stop()
    return seen


if __name__ == "__main__":
    json.dump(asyncio.run(main(float(sys.argv[1]))), sys.stdout, indent=2)
