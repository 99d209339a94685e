"""What tests share: an upstream that records exact bytes, a gateway in this process, and a caller on a raw socket."""

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.callers.tokens import digest
from gateway.config.config_source import ConfigSource
from gateway.net.resolver import Lookup
from gateway.runtime.gateway import Gateway
from gateway.telemetry.log import Log

DEADLINE: Final = 10.0
KEY: Final = "pl_v2_Kone-sentinel-0123456789"
OTHER_KEY: Final = "pl_v2_Ktwo-sentinel-0123456789"
TOKEN: Final = "plgw_token-of-app-0123456789"
_OF = ("threads", "contacts", "companies", "projects", "issues", "tags", "snippets", "changelogs", "docs")
ALL_SCOPES: Final = (
    *(f"{name}:{right}" for name in _OF for right in ("read", "write")),
    *("messages:write", "comments:write", "portal:read", "files:write", "admin"),
)


@dataclass(frozen=True)
class Arrival:
    """A request as it reached the upstream: the bytes of its head, and its body with the framing taken off."""

    head: bytes
    body: bytes
    complete: bool = True

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def method(self) -> str:
        return self.line.split(b" ")[0].decode()

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def fields(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found.lower() == name.lower()]

    @property
    def bearer(self) -> str:
        return ",".join(self.all("Authorization")).removeprefix("Bearer ")


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until a question is answered with yes, in `DEADLINE` seconds."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():  # noqa: ASYNC110 - there is no event: it is asked over a socket
            await asyncio.sleep(0.01)


Answer = Callable[[Arrival, asyncio.StreamWriter], Awaitable[None] | None]


def answer(
    status: int = 200, body: bytes = b'{"ok":true}', *, fields: tuple[str, ...] = ("Content-Type: application/json",)
) -> bytes:
    """The bytes of a whole answer."""
    lines = [f"HTTP/1.1 {status} X", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error(status: int, code: str, **details: Any) -> bytes:
    """The bytes of an error answer of Productlane's."""
    body = {"error": {"code": code, "message": code, "details": details, "request_id": "req_00000000000000aa"}}
    return answer(
        status,
        json.dumps(body).encode(),
        fields=("Content-Type: application/json", "X-Request-Id: req_00000000000000aa"),
    )


class Upstream:
    """A server on loopback that keeps every byte it got and answers as `reply` says.

    ``GET /me`` is answered from ``scopes`` (by secret) and kept apart, in `lookups`. `reply` is bytes to send, or a
    function of the arrival and the writer. ``before_body`` is called when a head has come, before its body is
    read.
    """

    def __init__(self) -> None:
        self.url = ""
        self.scopes: dict[str, tuple[str, ...]] = {KEY: ALL_SCOPES, OTHER_KEY: ("threads:read",)}
        self.workspace = "wks_1"
        self.reply: bytes | Answer = answer()
        self.before_body: Answer | None = None
        self.me: bytes | None = None
        self.arrivals: list[Arrival] = []
        self.lookups: list[Arrival] = []
        self.connections = 0
        self.received = b""
        self.partial: list[tuple[bytes, bytes]] = []
        self._open: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, **options: Any) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, **options)
        scheme = "https" if "ssl" in options else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v2"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    async def hang(self, arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        """Answer nothing, or no more, until the gateway gives the connection up."""
        with contextlib.suppress(ConnectionError):
            await self._open[writer].read(1)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something about this upstream holds."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open[writer] = reader
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._open[writer]
            self._changed.set()
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        self.received += head + b"\r\n\r\n"
        arrival = Arrival(head, b"")
        if self.before_body is not None and (waited := self.before_body(arrival, writer)) is not None:
            await waited
        body, complete = await self._body(arrival, reader)
        arrival = Arrival(head, body, complete)
        asks_me = arrival.method == "GET" and arrival.target == b"/api/v2/me"
        (self.lookups if asks_me else self.arrivals).append(arrival)
        self._changed.set()
        if not complete:
            return False
        reply = self._me(arrival) if asks_me else self.reply
        if isinstance(reply, bytes):
            writer.write(reply)
        elif (waited := reply(arrival, writer)) is not None:
            await waited
        await writer.drain()
        return not writer.is_closing()

    async def _body(self, arrival: Arrival, reader: asyncio.StreamReader) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        try:
            if arrival.all("Transfer-Encoding"):
                while True:
                    line = await reader.readuntil(b"\r\n")
                    size = int(line, 16)
                    piece = await reader.readexactly(size + 2)
                    self.received += line + piece
                    if not size:
                        return b"".join(pieces), True
                    pieces.append(piece[:-2])
            left = int((arrival.all("Content-Length") or ["0"])[0])
            while left:
                piece = await reader.read(min(left, 1 << 16))
                if not piece:
                    return b"".join(pieces), False
                self.received += piece
                pieces.append(piece)
                left -= len(piece)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"".join(pieces), False
        return b"".join(pieces), True

    def _me(self, arrival: Arrival) -> bytes | Answer:
        if self.me is not None:
            return self.me
        scopes = self.scopes.get(arrival.bearer)
        if scopes is None:
            return error(401, "unauthenticated")
        body = {
            "workspace_id": self.workspace,
            "api_key_id": f"key_{arrival.bearer[6:10]}",
            "scopes": list(scopes),
            "linear_team_ids": [],
            "default_linear_team_id": None,
        }
        return answer(200, json.dumps(body).encode())


@dataclass
class Response:
    """An answer as a caller got it. ``rest`` are bytes that came after it."""

    status: int
    head: bytes
    body: bytes
    rest: bytes = b""

    @property
    def fields(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    @property
    def relayed(self) -> bytes:
        """The head without the gateway's own id of the request, which every answer has."""
        return b"\r\n".join(line for line in self.head.split(b"\r\n") if not line.startswith(b"X-Gateway-Request-Id: "))

    def get(self, name: str) -> str | None:
        return next((value for found, value in self.fields if found == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Cut(Exception):
    """The connection ended before the answer did; ``received`` is what there was of it."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self.received = received


class Caller:
    """A raw connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(DEADLINE):
            await self.writer.drain()

    async def response(self, *, head_only: bool = False) -> Response:
        """The next answer. Raises `Cut`."""
        async with asyncio.timeout(DEADLINE):
            return await self._response(head_only)

    async def _response(self, head_only: bool) -> Response:
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        except asyncio.IncompleteReadError as short:
            raise Cut(short.partial) from None
        response = Response(int(head.split(b" ", 2)[1]), head, b"")
        if head_only or response.status in (204, 304) or response.status < 200:
            return response
        try:
            if response.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    response.body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            elif (length := response.get("content-length")) is not None:
                response.body = await self.reader.readexactly(int(length))
            else:
                response.body = await self.reader.read()
        except (asyncio.IncompleteReadError, ConnectionError) as short:
            raise Cut(response.body + getattr(short, "partial", b"")) from None
        return response

    async def closed(self) -> bytes:
        """Wait for the gateway to close; returns what it still sent."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def head(method: str = "GET", target: str = "/api/v2/threads", *fields: str, token: str | None = TOKEN) -> bytes:
    """The bytes of a request head."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, *fields]).encode("utf-8", "surrogateescape") + b"\r\n\r\n"


@dataclass
class Running:
    """A gateway in this process, its upstream, and its log lines."""

    gateway: Gateway
    upstream: Upstream
    log_file: Path
    folder: Path
    log: Log
    callers: list[Caller] = field(default_factory=list)

    async def connect(self) -> Caller:
        address = self.gateway.traffic
        if address.path is not None:
            streams = await asyncio.open_unix_connection(str(address.path), limit=1 << 22)
        else:
            streams = await asyncio.open_connection(address.host, address.port, limit=1 << 22)
        caller = Caller(*streams)
        self.callers.append(caller)
        return caller

    async def raw(self, data: bytes, *, head_only: bool = False) -> Response:
        """Send bytes on a connection of their own and read one answer."""
        caller = await self.connect()
        try:
            await caller.send(data)
            return await caller.response(head_only=head_only)
        finally:
            await caller.close()

    async def ask(
        self,
        method: str = "GET",
        target: str = "/api/v2/threads",
        *fields: str,
        token: str | None = TOKEN,
        body: bytes | None = None,
    ) -> Response:
        """One request on a connection of its own."""
        if body is not None:
            fields = (*fields, f"Content-Length: {len(body)}")
        request = head(method, target, *fields, token=token) + (body or b"")
        return await self.raw(request, head_only=method == "HEAD")

    async def admin(self, path: str, accept: str = "*/*") -> Response:
        address = self.gateway.admin
        reader, writer = await asyncio.open_connection(address.host, address.port)
        caller = Caller(reader, writer)
        try:
            await caller.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
            return await caller.response()
        finally:
            await caller.close()

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        text = (await self.admin("/metrics")).body.decode()
        for line in text.splitlines():
            found = re.fullmatch(r"productlane_gateway_(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name:
                held = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
                if labels.items() <= held.items():
                    total += float(found[3])
        return total

    async def events(self, event: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of an event with these fields, once there are at least so many."""
        async with asyncio.timeout(DEADLINE):
            while True:
                text = (await asyncio.to_thread(self.log_file.read_text)).rpartition("\n")[0]  # whole lines
                lines = [json.loads(line) for line in text.splitlines() if f'"event":"{event}"' in line]
                found = [line for line in lines if fields.items() <= line.items()]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    async def lines(self, count: int = 1) -> list[dict[str, Any]]:
        """The log lines of requests, once there are at least so many."""
        async with asyncio.timeout(DEADLINE):
            while True:
                text = (await asyncio.to_thread(self.log_file.read_text)).rpartition("\n")[0]  # whole lines
                found = [json.loads(line) for line in text.splitlines() if '"endpoint"' in line]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)


def config(upstream: str, /, **settings: Any) -> dict[str, Any]:
    """A whole ``gateway.yaml``: one key, one route, nothing looked up in advance."""
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "upstream": {"url": upstream, **settings.pop("upstream", {})},
        "keys": {"main": {"secrets": ["env:MAIN_KEY"]}},
        "routes": [{"path": "/**", "keys": ["main"]}],
        "identity": {"prefetch": False, **settings.pop("identity", {})},
        **settings,
    }


def policy(caller: str = "app", token: str | None = TOKEN, **fields: Any) -> dict[str, Any]:
    """A policy that grants every scope, to whoever holds the token; ``token=None`` makes it anonymous."""
    proof = {"anonymous": True} if token is None else {"tokens": [f"sha256:{digest(token).hex()}"]}
    return {"caller": caller, "authenticate": proof, "scopes": list(ALL_SCOPES), **fields}


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    upstream: Upstream,
    /,
    *,
    policies: list[dict[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] | None = None,
    live: bool = False,
    lookup: Lookup | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """A gateway that was loaded from files, as the command does it; where it is ``live``, it follows their changes.

    ``lookup`` stands in for `socket.getaddrinfo`.
    """
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    for number, fields in enumerate(policies if policies is not None else [policy()]):
        (folder / "policies" / f"{number}.yaml").write_text(yaml.safe_dump(fields))
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config(upstream.url, **settings)))
    origin = ConfigSource(path, {"MAIN_KEY": KEY, "SECOND_KEY": OTHER_KEY, **(environ or {})})
    contents = origin.contents()
    snapshot = origin.load()
    log_file = folder / "log"
    fd = os.open(log_file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    log = Log(fd, level=snapshot.settings.log.level)
    options: dict[str, Any] = {"origin": origin, "contents": contents} if live else {}
    options |= {"clock": clock} if clock else {}
    options |= {"lookup": lookup} if lookup else {}
    gateway = Gateway(snapshot, config=str(path), log=log, **options)
    run = Running(gateway, upstream, log_file, folder, log)
    try:
        await gateway.start()
        yield run
    finally:
        for caller in run.callers:
            caller.writer.transport.abort()
        await gateway.stop()
        log.close()
        os.close(fd)
