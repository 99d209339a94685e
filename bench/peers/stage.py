"""Peers that run in front of one upstream, and what they cost there."""

import asyncio
import contextlib
import multiprocessing
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trustme
import uvloop

from bench.latency import resident
from bench.peers.setups import PEERS, Place
from bench.peers.traffic import GET, LARGE, LARGE_SIZE, load, paced, upstream
from bench.peers.tutorials import KEY

CONNECTIONS: Final = 32
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
    """A peer that answers. Times are seconds, memory is in MB; CPU is seconds a request, by kind of request.

    ``tls`` is what it is reached with where it listens with TLS; ``request`` is what it is asked in place of the usual.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    starts: list[float] = field(default_factory=list)
    idle: float = 0.0
    idle_cpu: float = 0.0
    cpu: dict[str, list[float]] = field(default_factory=dict)
    stream_cpu: float = 0.0
    stream_grew: float = 0.0
    tls: ssl.SSLContext | None = None
    request: bytes | None = None

    def seconds(self) -> float:
        """CPU time that the process has used, to the nanosecond (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def started(
    name: str,
    command: list[str],
    port: int,
    environ: Mapping[str, str] = MappingProxyType({}),
    tls: ssl.SSLContext | None = None,
    request: bytes | None = None,
) -> Running:
    """A peer on the second core, once it has relayed an answer. ``tls`` and ``request`` are as for `Running`."""
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
            asyncio.run(load(port, 1, 1, request or GET, tls))
            return Running(name, process, port, [time.perf_counter() - began], tls=tls, request=request)
        time.sleep(0.002)
    process.kill()
    raise SystemExit(f"{name} does not answer")


@contextlib.contextmanager
def stage(names: Iterable[str], scheme: str, starts: int = 1) -> Iterator[tuple[int, dict[str, Running]]]:
    """An upstream, and peers in front of it, started several times each; its port, and what runs."""
    here, there = multiprocessing.Pipe()
    running: dict[str, Running] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pem = certificate(folder)
        secure = scheme == "https"
        responder = multiprocessing.Process(target=upstream, args=(there, pem if secure else None), daemon=True)
        responder.start()
        port = here.recv()
        try:
            for number, peer in enumerate(names):
                place = Place(folder / str(number), free_port(), scheme, port, folder / "ca.pem")
                place.folder.mkdir()
                command = PEERS[peer](place)
                took: list[float] = []
                for _ in range(starts):
                    if peer in running:
                        running.pop(peer).end()
                    running[peer] = started(peer, command, place.port)
                    took += running[peer].starts
                running[peer].starts = took
            yield port, running
        finally:
            for one in running.values():
                one.end()
            responder.terminate()


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for localhost with its key, signed by the ``ca.pem`` of the folder; as certificate and as key."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "pem"))
    return str(folder / "pem"), str(folder / "pem")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def left_alone(running: Iterable[Running]) -> None:
    """CPU and memory while nobody asks."""
    time.sleep(1)
    before = {one.port: one.seconds() for one in running}
    time.sleep(_IDLE)
    for one in running:
        one.idle_cpu = (one.seconds() - before[one.port]) / _IDLE
        one.idle = resident(one.process.pid)


def busy(running: Iterable[Running], rounds: int, seconds: float, kind: str, request: bytes) -> None:
    """CPU per request: in each round every peer has a turn of about so many seconds."""
    counts = {}
    for one in running:
        began = time.perf_counter()
        uvloop.run(load(one.port, _WARM_UP, CONNECTIONS, one.request or request, one.tls))
        counts[one.port] = max(_WARM_UP, int(_WARM_UP * seconds / (time.perf_counter() - began)))
    for _ in range(rounds):
        for one in running:
            before, count = one.seconds(), counts[one.port]
            uvloop.run(load(one.port, count, CONNECTIONS, one.request or request, one.tls))
            one.cpu.setdefault(kind, []).append((one.seconds() - before) / count)


def streamed(running: Iterable[Running]) -> None:
    """CPU per GB, and by how much memory grows at most, while large answers pass."""
    for one in running:
        with contextlib.suppress(OSError):
            Path(f"/proc/{one.process.pid}/clear_refs").write_text("5")
        before, idle = one.seconds(), resident(one.process.pid)
        uvloop.run(load(one.port, 2, 1, LARGE))
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
            took[way] += await paced(port, _CALLS, rate, GET)
    return {way: sorted(seconds) for way, seconds in took.items()}
