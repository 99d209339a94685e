"""Peers that run in front of one upstream, and what they cost there: how every script here starts and measures one."""

import asyncio
import contextlib
import multiprocessing
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trustme
import uvloop

from bench.peers.setups import PEERS, Place
from bench.peers.traffic import GET, LARGE, LARGE_SIZE, load, paced, upstream
from bench.peers.tutorials import KEY

CORES: Final = sorted(os.sched_getaffinity(0))
# Seconds: how long peers are left alone to see what they cost then, and how long a start may take.
_IDLE: Final = 10.0
_START: Final = 20.0
# An installed program is compiled; where Python may not keep what it compiles, every start would compile all anew.
_ENVIRON: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
# A peer's first requests, which do not count and tell how many it serves in a turn.
_WARM_UP: Final = 500
# Calls at a steady rate that a peer gets in a turn.
_CALLS: Final = 50


@dataclass
class Running:
    """A peer that answers, until its context ends. Seconds and MB; ``cpu`` is seconds a request, by kind of request.

    ``tls`` is what it is reached with where it listens with TLS; ``requests`` are asked instead of the usual one.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    tls: ssl.SSLContext | None = None
    requests: Sequence[bytes] = ()
    connections: int = 32
    starts: list[float] = field(default_factory=list)
    idle: float = 0.0
    idle_cpu: float = 0.0
    cpu: dict[str, list[float]] = field(default_factory=dict)
    stream_cpu: float = 0.0
    stream_grew: float = 0.0

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def seconds(self) -> float:
        """CPU time that the process has used, to the nanosecond (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory(self) -> float:
        """Resident memory in MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def turn(self, count: int, request: bytes) -> float:
        """CPU seconds of each of so many requests."""
        before = self.seconds()
        uvloop.run(load(self.port, count, self.connections, self.requests or (request,), self.tls))
        return (self.seconds() - before) / count


def started(
    name: str,
    command: list[str],
    port: int,
    environ: Mapping[str, str] = MappingProxyType({}),
    *,
    tls: ssl.SSLContext | None = None,
    requests: Sequence[bytes] = (),
    connections: int = Running.connections,
) -> Running:
    """A peer on the second core, once it has relayed an answer."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**_ENVIRON, "BENCH_KEY": KEY, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {CORES[-1]}),
    )
    while process.poll() is None and time.perf_counter() - began < _START:
        # Traefik listens before it has routes, and answers 404 meanwhile.
        with contextlib.suppress(OSError, SystemExit):
            asyncio.run(load(port, 1, 1, requests or (GET,), tls))
            return Running(name, process, port, tls, requests, connections, [time.perf_counter() - began])
        time.sleep(0.002)
    process.kill()
    raise SystemExit(f"{name} does not answer")


@dataclass(frozen=True)
class Around:
    """What peers run beside: the ports of an upstream with and without TLS, and a certificate for localhost."""

    folder: Path
    plain: int
    secure: int
    pem: str

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def place(self, *, secure: bool = False) -> Place:
        """A new folder and a free port for a peer that talks to the upstream, over TLS where ``secure``."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        scheme, there = ("https", self.secure) if secure else ("http", self.plain)
        return Place(Path(tempfile.mkdtemp(dir=self.folder)), port, scheme, there, self.ca)


@contextmanager
def around() -> Iterator[Around]:
    """An upstream with and without TLS; this process and the upstream get the first core."""
    os.sched_setaffinity(0, {CORES[0]})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{name}/ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(f"{name}/pem")
        ports: list[int] = []
        for pem in (None, f"{name}/pem"):
            here, there = multiprocessing.Pipe()
            responder = multiprocessing.Process(target=upstream, args=(there, pem), daemon=True)
            responder.start()
            stack.callback(responder.terminate)
            ports.append(here.recv())
        yield Around(Path(name), ports[0], ports[1], f"{name}/pem")


@contextmanager
def stage(names: Iterable[str], *, secure: bool = False, starts: int = 1) -> Iterator[tuple[int, dict[str, Running]]]:
    """An upstream, and peers in front of it, started several times each; its port, and what runs."""
    with around() as beside, ExitStack() as stack:
        running = {}
        for peer in names:
            place, took = beside.place(secure=secure), list[float]()
            command = PEERS[peer](place)
            for _ in range(starts - 1):
                with started(peer, command, place.port) as one:
                    took += one.starts
            running[peer] = stack.enter_context(started(peer, command, place.port))
            running[peer].starts += took
        yield beside.plain, running


def left_alone(running: Iterable[Running]) -> None:
    """CPU and memory while nobody asks."""
    time.sleep(1)
    before = {one.port: one.seconds() for one in running}
    time.sleep(_IDLE)
    for one in running:
        one.idle_cpu = (one.seconds() - before[one.port]) / _IDLE
        one.idle = one.memory()


def busy(running: Iterable[Running], rounds: int, seconds: float, kind: str = "GET", request: bytes = GET) -> None:
    """CPU per request: in each round every peer has a turn of about so many seconds."""
    counts = {}
    for one in running:
        began, least = time.perf_counter(), max(_WARM_UP, 10 * one.connections)
        one.turn(least, request)
        counts[one.port] = max(least, int(least * seconds / (time.perf_counter() - began)))
    for _ in range(rounds):
        for one in running:
            one.cpu.setdefault(kind, []).append(one.turn(counts[one.port], request))


def streamed(running: Iterable[Running]) -> None:
    """CPU per GB, and by how much memory grows at most, while large answers pass."""
    for one in running:
        with contextlib.suppress(OSError):
            Path(f"/proc/{one.process.pid}/clear_refs").write_text("5")
        before, idle = one.seconds(), one.memory()
        uvloop.run(load(one.port, 2, 1, (LARGE,)))
        one.stream_cpu = (one.seconds() - before) / (2 * LARGE_SIZE) * 1e9
        one.stream_grew = max(0.0, _peak(one.process.pid) - idle)


def _peak(pid: int) -> float:
    """The most memory in MB since it was last reset, or from the start (proc(5): VmHWM, clear_refs)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


async def latencies(ways: dict[str, int], calls: int, rate: float) -> dict[str, list[float]]:
    """The seconds of calls at a steady rate by way, sorted. The ways take turns."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(max(1, calls // _CALLS)):
        for way, port in ways.items():
            took[way] += await paced(port, _CALLS, rate)
    return {way: sorted(seconds) for way, seconds in took.items()}
