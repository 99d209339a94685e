"""An answer to the caller whose bytes are all ours: a head made of lines, and a body in the caller's own framing."""

import asyncio
import socket
import struct
import time
from http import HTTPStatus
from typing import Final, Protocol

from gateway.callers.peers import Peer
from gateway.config.schema.gateway import Gateway as Settings
from gateway.core.limits import Limit
from gateway.proxy.request import Request

_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
# Up to this many bytes are copied behind the head, so that both leave in one write.
_JOIN: Final = 65_536
# How long a caller may be waited for before the rate counts at which it takes its answer, in seconds.
_GRACE: Final = 30.0
# struct linger of socket(7): on, for no time.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class CallerGone(ConnectionResetError):
    """The caller has left, or does not take its answer in time, which is then a ``limit``. The text says which."""

    def __init__(self, why: str, limit: Limit | None = None) -> None:
        super().__init__(why)
        self.limit: Final = limit


class Connection(Protocol):
    """The connection of a caller, as far as answering goes."""

    transport: asyncio.Transport | None
    peer: Peer
    peer_name: str
    retiring: bool

    @property
    def congested(self) -> bool:
        """Whether the caller takes its answer more slowly than it comes."""

    async def drained(self) -> None:
        """Until the caller has taken enough of its answer."""

    def ask_for_body(self) -> None:
        """Answer an expectation of 100 Continue."""


class Reply:
    """The answer to one request: `whole`, or begun by `begin`, streamed by `write` and ended by `end`.

    No body byte is ever sent for HEAD, 204 and 304 (RFC 9110 section 6.4.1). ``settings`` say how slowly a caller may
    take it; ``closes`` tells that the connection ends after this answer; ``sent`` are the bytes of its body.
    """

    __slots__ = (
        "_bodiless",
        "_chunks",
        "_connection",
        "_left",
        "_pending",
        "_request",
        "_waited",
        "began",
        "closes",
        "sent",
        "settings",
    )

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._bodiless = False
        self._chunks = False
        self._left = 0
        self._pending = b""
        self._waited = 0.0
        self.began = False
        self.closes = False
        self.settings: Settings | None = None
        self.sent = 0

    @property
    def connection(self) -> Connection:
        return self._connection

    async def whole(self, status: int, lines: bytes, body: bytes, *, reason: bytes = b"") -> None:
        """An answer whose body is at hand. Raises `CallerGone`."""
        self.begin(status, lines, len(body), reason=reason)
        if self._bodiless:
            body = b""
        self._left, self.sent = 0, len(body)
        self._send(body)
        if self._connection.congested:
            await self._drain()

    def begin(self, status: int, lines: bytes, length: int | None, *, reason: bytes = b"") -> None:
        """Make the head ready, of one line or more, joined by line breaks. It leaves with the first bytes of the body,
        or by `flush`.
        """
        request = self._request
        self.began = True
        self._bodiless = request.method == "HEAD" or status in (204, 304)
        framing = b""
        if length is not None:
            if status != 204:
                framing = b"Content-Length: %d\r\n" % length
            self._left = 0 if self._bodiless else length
        elif not self._bodiless:
            if request.http10:
                self.closes = True
            else:
                self._chunks = True
                framing = b"Transfer-Encoding: chunked\r\n"
        if self.closes or self._connection.retiring or not request.may_stay_open:
            self.closes = True
            framing += b"Connection: close\r\n"
        elif request.http10:
            framing += b"Connection: keep-alive\r\n"
        self._pending = make_head(status, lines, framing, reason)

    def flush(self) -> None:
        """Send the head now: the body is not there yet."""
        self._send(b"")

    async def write(self, data: bytes) -> None:
        """Send a part of the body; returns when the socket takes more. Raises `CallerGone`."""
        if self._bodiless or not data:
            return
        self.sent += len(data)
        if self._chunks:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._left -= len(data)
            self._send(data)
        if self._connection.congested:
            await self._drain()

    async def end(self) -> None:
        """End the body. Where it is shorter than its head said, the connection is cut, so that the caller sees it."""
        if self._left > 0:
            self.abort()
            return
        self._send(b"0\r\n\r\n" if self._chunks else b"")
        if self._connection.congested:
            await self._drain()

    def abort(self) -> None:
        """Cut the connection: what was sent so far can then not be taken for a whole answer."""
        self.closes = True
        transport = self._connection.transport
        if transport is not None:
            if self.began and self._request.http10:
                _reset_on_close(transport)
            transport.abort()

    def _send(self, data: bytes) -> None:
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise CallerGone("the caller has gone")
        if self._pending:
            head, self._pending = self._pending, b""
            if len(data) > _JOIN:
                transport.write(head)
            else:
                data = head + data
        if data:
            transport.write(data)

    async def _drain(self) -> None:
        patience, rate = _bounds(self.settings)
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                await self._connection.drained()
        except TimeoutError:
            self.abort()
            why = f"the caller took nothing for {patience:g} s (`upstream.idle_timeout`)"
            raise CallerGone(why, Limit.ANSWER_SILENCE) from None
        if self._connection.transport is None:
            raise CallerGone("the caller has gone")
        self._waited += time.monotonic() - began
        grace = min(_GRACE, patience)
        if self._waited > grace and self.sent < rate * self._waited:
            self.abort()
            why = f"after {grace:g} s the caller took less than {rate} bytes a second (`limits.answer_rate`)"
            raise CallerGone(why, Limit.ANSWER_RATE)


def _bounds(settings: Settings | None) -> tuple[float, int]:
    """How long a caller may take nothing, and how many bytes a second it has to take."""
    return (60.0, 0) if settings is None else (settings.upstream.idle_timeout, settings.limits.answer_rate)


def make_head(status: int, lines: bytes, framing: bytes, reason: bytes = b"") -> bytes:
    """A response head with its empty line; ``lines`` are joined, ``framing`` are fields with their line breaks."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b\r\n" % (status, reason or _PHRASES.get(status, b""), lines, framing)


def _reset_on_close(transport: asyncio.Transport) -> None:
    """To HTTP/1.0 the end of the connection is the end of the body, so that only a reset shows that it was cut."""
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.family != socket.AF_UNIX:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
