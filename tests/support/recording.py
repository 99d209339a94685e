"""An upstream on loopback that keeps every byte it got and answers as it is set up to."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.support.deadline import DEADLINE
from tests.support.sentinels import ALL_SCOPES, KEY, OTHER_KEY


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
        self.received = bytearray()
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
        """Wait until a condition on this upstream is true."""
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
