"""A caller on a raw socket: bytes out, bytes in."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.support.deadline import DEADLINE
from tests.support.sentinels import TOKEN

_OURS = (b"X-Gateway-Request-Id: ", b"RateLimit-Policy: ", b"RateLimit: ")

_LIMIT = 1 << 22


@dataclass
class Response:
    """An answer as a caller got it."""

    status: int
    head: bytes
    body: bytes

    @property
    def fields(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    @property
    def relayed(self) -> bytes:
        """The head without what the gateway adds to every answer: its id of the request, and the caller's budget."""
        return b"\r\n".join(line for line in self.head.split(b"\r\n") if not line.startswith(_OURS))

    def get(self, name: str) -> str | None:
        return next((value for found, value in self.fields if found == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Cut(Exception):
    """The connection ended before the answer; ``received`` is the part that came."""

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
        """Wait for the gateway to close; returns the bytes that it still sent."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        """Close; what the gateway does not read in time is dropped with the connection."""
        self.writer.close()
        try:
            async with asyncio.timeout(DEADLINE):
                await self.writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self.writer.transport.abort()


async def connect(address: str, **options: Any) -> Caller:
    """A raw connection to ``host:port`` or ``unix:/path``; ``options`` as for `asyncio.open_connection`."""
    if address.startswith("unix:"):
        return Caller(*await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=_LIMIT, **options))
    host, _, port = address.rpartition(":")
    return Caller(*await asyncio.open_connection(host.strip("[]"), int(port), limit=_LIMIT, **options))


async def ask(to: Caller | str, data: bytes, *, head_only: bool = False) -> Response:
    """Send bytes on a connection, or on a new one to an address, read one answer and close. Raises `Cut`."""
    caller = await connect(to) if isinstance(to, str) else to
    try:
        await caller.send(data)
        return await caller.response(head_only=head_only)
    finally:
        await caller.close()


def head(method: str = "GET", target: str = "/api/v2/threads", *fields: str, token: str | None = TOKEN) -> bytes:
    """The bytes of a request head."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, *fields]).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
