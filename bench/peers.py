"""What the gateway costs beside other proxies, in one run, as Markdown: `make bench`.

    python -m bench.peers [--count 20000] [--rounds 5] [--only gateway nginx envoy tutorial] [--json FILE]

All attach a key. nginx, HAProxy and Envoy log a line for each request, to nowhere. The gateway, set up
as a central one, also knows its caller by a token, decides by policy, chooses a key, keeps the rate budget and counts.
Load and upstream share one core and the proxy has another. Peers take turns in every round and medians count, so
compare only within a run. A peer that is not installed is left out and named. Loopback only; Linux, two cores.
"""

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import json
import multiprocessing
import os
import platform
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, cast

import aiohttp
import trustme
import uvloop
import yaml
from aiohttp import web

from bench.latency import BODY, ME, measured, resident

HERE: Final = Path(__file__).parent / "peers"
KEY: Final = "pl_v2_of-the-bench-0001"
TOKEN: Final = "token-of-the-bench"
REQUEST: Final = (
    b"GET /api/v2/threads?limit=20 HTTP/1.1\r\nHost: gateway\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
)
_POSTED: Final = b'{"text":"' + b"x" * 1000 + b'"}'
POST: Final = (
    b"POST /api/v2/threads HTTP/1.1\r\nHost: gateway\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_POSTED), _POSTED)
)
LARGE: Final = REQUEST.replace(b"?limit=20", b"?limit=20&large=1")
LARGE_SIZE: Final = 256 << 20
CONNECTIONS: Final = 32
# How long peers are left alone to see what they cost then, in seconds.
IDLE: Final = 10.0
CORES: Final = sorted(os.sched_getaffinity(0))
ENVOY: Final = ("--concurrency", "1", "--log-level", "off", "--disable-hot-restart")
ENVOY_TLS: Final = (
    "transport_socket: {name: tls, typed_config: {"
    "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: localhost, "
    "common_tls_context: {validation_context: {trusted_ca: {filename: '@CA@'}}}}}"
)
PIECE: Final = b"x" * (1 << 18)
LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Answering(asyncio.Protocol):
    """An upstream that answers every request at once, with what Productlane's answers carry."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.missing = 0
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        else:
            end = data.find(b"\r\n\r\n") + 4
            found = LENGTH.search(data, 0, end)
            self.missing = int(found[1]) - len(data) + end if found else 0
            self.me, self.large = b" /api/v2/me " in data, b"&large=1 " in data
        if self.missing <= 0:
            self.missing = 0
            self.answer()

    def answer(self) -> None:
        body = ME if self.me else BODY
        reset = int(time.time()) // 60 * 60 + 60
        size = LARGE_SIZE if self.large else len(body)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_0123456789abcdef\r\n"
            b"X-RateLimit-Limit: 9000000\r\nX-RateLimit-Remaining: 8999999\r\nX-RateLimit-Reset: %d\r\n"
            b"Content-Length: %d\r\n\r\n" % (reset, size) + (b"" if self.large else body)
        )
        self.left = size if self.large else 0
        self.more()

    def more(self) -> None:
        while self.left and not self.paused:
            self.left -= len(PIECE)
            self.transport.write(PIECE)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.more()


class Asking(asyncio.Protocol):
    """One connection that asks again as soon as it is answered, while ``left`` says so."""

    def __init__(self, left: list[int], finished: Callable[[], None], request: bytes) -> None:
        self.left, self.finished, self.request, self.got = left, finished, request, b""
        self.dropping = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            self.transport.close()
            self.finished()
        else:
            self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.dropping:
            self.dropping -= len(data)
            if self.dropping <= 0:
                self.dropping = 0
                self.ask()
            return
        self.got += data
        end = self.got.find(b"\r\n\r\n")
        found = LENGTH.search(self.got, 0, end + 2) if end >= 0 else None
        if found is not None and int(found[1]) == LARGE_SIZE:
            self.dropping, self.got = LARGE_SIZE - len(self.got) + end + 4, b""
        elif found is not None and len(self.got) >= end + 4 + int(found[1]):
            if not self.got.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"a peer answered {self.got[:200]!r}")
            self.got = b""
            self.ask()


def upstream(tell: Connection, pem: tuple[str, str] | None) -> None:
    """Answers on a port that it tells; with a certificate and key, over TLS."""
    context = None
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*pem)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, ssl=context)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


def tutorial(port: int, url: str, ca: str) -> None:
    """The proxy that a search finds: one session, headers copied, bodies read whole."""
    trust = ssl.create_default_context(cafile=ca) if url.startswith("https") else None

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as app["session"]:
            yield

    async def handle(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        headers["Authorization"] = f"Bearer {KEY}"
        async with request.app["session"].request(
            request.method, url + request.path_qs, headers=headers, data=await request.read(), ssl=trust or True
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def starlette(port: int, url: str, ca: str) -> None:
    """The same with Starlette, httpx and uvicorn."""
    import httpx  # type: ignore[import-not-found, unused-ignore]
    import uvicorn  # type: ignore[import-not-found, unused-ignore]
    from starlette.applications import Starlette  # type: ignore[import-not-found, unused-ignore]
    from starlette.requests import Request  # type: ignore[import-not-found, unused-ignore]
    from starlette.responses import Response  # type: ignore[import-not-found, unused-ignore]
    from starlette.routing import Route  # type: ignore[import-not-found, unused-ignore]

    client = httpx.AsyncClient(verify=ssl.create_default_context(cafile=ca) if url.startswith("https") else True)

    async def handle(request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        headers["authorization"] = f"Bearer {KEY}"
        target = f"{url}{request.url.path}?{request.url.query}"
        answer = await client.request(request.method, target, headers=headers, content=await request.body())
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Response(answer.content, answer.status_code, kept)

    app = Starlette(routes=[Route("/{path:path}", handle, methods=["GET", "POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


@dataclass
class Place:
    """Where a peer is to be: its folder and port, and the upstream's scheme, port and certificate authority."""

    folder: Path
    port: int
    scheme: str
    upstream: int
    ca: Path

    def filled(self, template: str) -> str:
        """The path of a configuration made of a file of `HERE`."""
        values = {
            "FOLDER": str(self.folder),
            "PORT": str(self.port),
            "SCHEME": self.scheme,
            "UPSTREAM": f"127.0.0.1:{self.upstream}",
            "UPSTREAMPORT": str(self.upstream),
            "KEY": KEY,
            "CA": str(self.ca),
            "SSL": f"ssl verify required ca-file {self.ca} sni str(localhost) verifyhost localhost"
            if self.scheme == "https"
            else "",
            "TLS": ENVOY_TLS.replace("@CA@", str(self.ca)) if self.scheme == "https" else "",
        }
        path = self.folder / template
        path.write_text(re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], (HERE / template).read_text()))
        return str(path)

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.upstream}"


def gateway_command(place: Place) -> list[str]:
    """A gateway with two callers that authenticate and two keys to choose from."""
    policies = place.folder / "policies"
    policies.mkdir()
    digest = f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    for caller, token in (("bench", digest), ("other", f"sha256:{'0' * 64}")):
        policy = {"caller": caller, "authenticate": {"tokens": [token]}, "scopes": ["threads:read", "threads:write"]}
        (policies / f"{caller}.yaml").write_text(yaml.safe_dump(policy))
    settings = {
        "listen": f"127.0.0.1:{place.port}",
        "admin": "127.0.0.1:0",
        "upstream": {"url": f"{place.url}/api/v2"} | ({"ca": str(place.ca)} if place.scheme == "https" else {}),
        "keys": {"one": {"secrets": ["env:BENCH_KEY"]}, "two": {"secrets": ["env:BENCH_KEY"]}},
        "routes": [{"path": "/**", "keys": ["one", "two"]}],
        "drain": {"delay": "0s"},
    }
    path = place.folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings))
    return [sys.executable, "-m", "gateway", "serve", "--config", str(path)]


# How each peer is started. The first word has to be there.
PEERS: Final[dict[str, Callable[[Place], list[str]]]] = {
    "gateway": gateway_command,
    "nginx": lambda place: ["nginx", "-p", str(place.folder), "-c", place.filled("cost-nginx.conf")],
    "envoy": lambda place: ["envoy", "-c", place.filled("envoy.yaml"), *ENVOY],
    "haproxy": lambda place: ["haproxy", "-db", "-f", place.filled("cost-haproxy.cfg")],
    "starlette": lambda place: [
        *(sys.executable, "-m", "bench.peers", "--starlette"),
        *(str(place.port), place.url, str(place.ca)),
    ],
    "tutorial": lambda place: [
        *(sys.executable, "-m", "bench.peers", "--tutorial"),
        *(str(place.port), place.url, str(place.ca)),
    ],
}


@dataclass
class Running:
    """A peer that answers."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    starts: list[float] = field(default_factory=list)
    idle: float = 0.0
    idle_cpu: float = 0.0
    cpu: dict[str, list[float]] = field(default_factory=dict)
    stream_cpu: float = 0.0
    stream_grew: float = 0.0

    def seconds(self) -> float:
        """CPU time that the process has used, to the nanosecond (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.process.pid << 3) | 2)


def started(name: str, command: list[str], place: Place) -> Running:
    """A peer on the second core, once it has relayed an answer."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, "BENCH_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {CORES[-1]}),
    )
    while time.perf_counter() - began < 20:
        with contextlib.suppress(OSError):
            asyncio.run(load(place.port, 1, 1))
            return Running(name, process, place.port, [time.perf_counter() - began])
        time.sleep(0.002)
    process.kill()
    raise SystemExit(f"{name} does not answer")


async def load(port: int, count: int, connections: int, request: bytes = REQUEST) -> None:
    """So many requests, over so many connections at a time."""
    loop = asyncio.get_running_loop()
    left, open_ones, done = [count], [connections], loop.create_future()

    def finished() -> None:
        open_ones[0] -= 1
        if not open_ones[0]:
            done.set_result(None)

    for _ in range(connections):
        await loop.create_connection(lambda: Asking(left, finished, request), "127.0.0.1", port)
    await done


@contextlib.contextmanager
def stage(names: list[str], scheme: str) -> Iterator[tuple[int, dict[str, Running]]]:
    """An upstream, and the peers in front of it, started several times each; its port, and what runs."""
    here, there = multiprocessing.Pipe()
    running: dict[str, Running] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "pem"))
        pem = (str(folder / "pem"),) * 2 if scheme == "https" else None
        responder = multiprocessing.Process(target=upstream, args=(there, pem), daemon=True)
        responder.start()
        port = here.recv()
        try:
            for peer in names:
                place = Place(folder / peer, free_port(), scheme, port, folder / "ca.pem")
                place.folder.mkdir()
                command = PEERS[peer](place)
                starts = []
                for last in (False, False, True):
                    running[peer] = started(peer, command, place)
                    starts += running[peer].starts
                    if not last:
                        ended(running[peer])
                running[peer].starts = starts
            time.sleep(1)
            before = {name: one.seconds() for name, one in running.items()}
            time.sleep(IDLE)
            for name, one in running.items():
                one.idle_cpu = (one.seconds() - before[name]) * 60 / IDLE * 1000
                one.idle = resident(one.process.pid)
            yield port, running
        finally:
            for one in running.values():
                ended(one)
            responder.terminate()


def ended(one: Running) -> None:
    one.process.terminate()
    one.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def busy(running: dict[str, Running], count: int, rounds: int, kind: str, request: bytes) -> None:
    """CPU per request of each peer, in turns; the first round warms up and does not count."""
    for turn in range(rounds + 1):
        for one in running.values():
            before = one.seconds()
            uvloop.run(load(one.port, count, CONNECTIONS, request))
            if turn:
                one.cpu.setdefault(kind, []).append((one.seconds() - before) / count * 1e6)


def streamed(running: dict[str, Running]) -> None:
    """CPU per GB and memory while large answers pass."""
    for one in running.values():
        before, idle = one.seconds(), resident(one.process.pid)
        uvloop.run(load(one.port, 2, 1, LARGE))
        one.stream_cpu = (one.seconds() - before) / (2 * LARGE_SIZE) * 1e9 * 1000
        one.stream_grew = resident(one.process.pid) - idle


def figures(names: list[str], count: int, rounds: int, calls: int) -> dict[str, dict[str, float]]:
    """All figures, by peer."""
    with stage(names, "http") as (port, plain):
        busy(plain, count, rounds, "get", REQUEST)
        busy(plain, count, rounds, "post", POST)
        ways = {"direct": port} | {name: one.port for name, one in plain.items()}
        took = asyncio.run(measured(ways, calls, 200, REQUEST))
        streamed(plain)
    with stage(names, "https") as (_, tls):
        busy(tls, count, rounds, "get", REQUEST)
    found: dict[str, dict[str, float]] = {}
    for name, one in plain.items():
        late = [
            (sorted(took[name])[int(calls * at)] - sorted(took["direct"])[int(calls * at)]) * 1e6 for at in (0.5, 0.99)
        ]
        found[name] = {
            "GET µs": statistics.median(one.cpu["get"]),
            "POST µs": statistics.median(one.cpu["post"]),
            "GET over TLS µs": statistics.median(tls[name].cpu["get"]),
            "p50 µs": late[0],
            "p99 µs": late[1],
            "start ms": statistics.median(one.starts) * 1000,
            "idle MB": one.idle,
            "idle ms a minute": one.idle_cpu,
            "ms a GB": one.stream_cpu,
            "MB grown": one.stream_grew,
        }
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures as a table in Markdown, with GET as a multiple of nginx and Envoy."""
    heads = [*next(iter(found.values()))]
    heads[1:1] = ["× nginx", "× Envoy"]
    rows = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, row in found.items():
        cells = []
        for head in heads:
            if head.startswith("×"):
                peer = found.get(head[2:].lower())
                cells.append("–" if peer is None else f"{row['GET µs'] / peer['GET µs']:.2f}")
            else:
                cells.append(f"{row[head]:.0f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def machine() -> str:
    """Where it ran, in a line."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ":?")
    build = "Debian's" if sys.base_prefix == "/usr" else "another"
    return (
        f"{time.strftime('%Y-%m-%d')}, {len(CORES)} × {model.partition(':')[2].strip()}, Python "
        f"{platform.python_version()} ({build} build), aiohttp {aiohttp.__version__}"
    )


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000, help="calls at 200/s, for the latency")
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--json", type=Path, help="a file to write the figures to as well")
    parser.add_argument(
        "--starlette", nargs=3, metavar=("PORT", "URL", "CA"), help="be that proxy; for this program alone"
    )
    parser.add_argument(
        "--tutorial", nargs=3, metavar=("PORT", "URL", "CA"), help="be that proxy; for this program alone"
    )
    options = parser.parse_args()
    for kind, run in (("tutorial", tutorial), ("starlette", starlette)):
        if given := getattr(options, kind):
            run(int(given[0]), *given[1:])
            return
    os.sched_setaffinity(0, {CORES[0]})
    there = [name for name in PEERS if name in ("gateway", *options.only) and installed(name)]
    for name in sorted(set(options.only) - set(there)):
        print(f"not installed: {name}", file=sys.stderr)
    found = figures(there, options.count, options.rounds, options.calls)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "peers": found}, indent=1, ensure_ascii=False) + "\n")
    print(f"{machine()}\n\n{table(found)}")


def installed(name: str) -> bool:
    """Whether a peer can be started here."""
    if name == "starlette":
        return all(importlib.util.find_spec(module) for module in ("starlette", "httpx", "uvicorn"))
    return name in ("gateway", "tutorial") or shutil.which(name) is not None


if __name__ == "__main__":
    main()
