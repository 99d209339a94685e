"""An answer to the caller whose bytes are all ours: aiohttp adds no field, no default type and no chunk of its own."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.proxy import edge

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
# Up to this many bytes are copied behind the head, so that both leave in one write.
_JOIN: Final = 65_536


# struct linger of socket(7): on, for no time.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class CallerGone(ConnectionResetError):
    """The caller has left, or takes nothing of its answer any more. The text says which."""


class Reply(web.StreamResponse):
    """A status, fields and a body: whole (``body``), of a stated ``length``, or streamed until it ends.

    Used by `aiohttp.web.Server` through ``prepare``, ``write_eof`` and ``keep_alive`` alone. No body byte is ever sent
    for HEAD, 204 and 304 (RFC 9110 section 6.4.1). ``patience`` is the seconds that a caller may take nothing.
    """

    def __init__(
        self,
        status: int,
        fields: Iterable[tuple[str, str]],
        *,
        reason: str = "",
        body: bytes | None = None,
        length: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(status=status)
        self.fields: Final = list(fields)
        self.bytes_out = 0
        self.patience = 60.0
        self._phrase = reason or _PHRASES.get(status, "")
        self._whole = body or b""
        self._length = len(body) if body is not None else length
        self._closes = close
        self._bodiless = False
        self._chunks = False
        self._left = 0
        self._pending = b""
        self._began = False
        self._ended = False
        self._request: web.BaseRequest | None = None

    @property
    def prepared(self) -> bool:
        return self._began

    @property
    def keep_alive(self) -> bool | None:
        return not self._closes

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """As aiohttp asks for `begin`."""
        self.begin(request)
        return None

    def begin(self, request: web.BaseRequest) -> None:
        """Make the head ready, once. It leaves with the first bytes of the body, or by `flush`."""
        if self._began:
            return
        self._began = True
        self._request = request
        self._bodiless = request.method == "HEAD" or self.status in (204, 304)
        lines: list[str] = []
        if self._length is not None:
            if self.status != 204:
                lines.append(f"Content-Length: {self._length}")
            self._left = 0 if self._bodiless else self._length
        elif not self._bodiless:
            if request.version >= (1, 1):
                self._chunks = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self._closes = True
        self._closes = self._closes or not edge.may_stay_open(request)
        if self._closes:
            lines.append("Connection: close")
        elif request.version < (1, 1):
            lines.append("Connection: keep-alive")
        self._pending = self._head(lines)

    def last_words(self) -> bytes:
        """All bytes of a whole answer, for a connection that ends before there is a request on it."""
        return self._head([f"Content-Length: {len(self._whole)}", "Connection: close"]) + self._whole

    def _head(self, framing: list[str]) -> bytes:
        fields = [f"{name}: {value}" for name, value in self.fields]
        lines = [f"HTTP/1.1 {self.status} {self._phrase}", *fields, *framing]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"

    def close(self) -> None:
        """Make this the last answer on its connection; the caller is told, where the head has not left yet."""
        self._closes = True

    def flush(self) -> None:
        """Send the head now: the body is not there yet."""
        self._send(b"")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a part of the body; returns when the socket takes more. Raises `CallerGone`."""
        if self._bodiless or not data:
            return
        self.bytes_out += len(data)
        if self._chunks:
            self._send(b"%x\r\n%b\r\n" % (len(data), bytes(data)))
        else:
            self._left -= len(data)
            self._send(bytes(data))
        if self._congested:
            await self._drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """End the body. Where it is shorter than its head said, the connection is cut, so that the caller sees it."""
        if self._ended:
            return
        body, self._whole = data or self._whole, b""
        if body and not self._bodiless:
            self.bytes_out += len(body)
            self._left -= len(body)
            self._send(body)
        self._ended = True
        if self._left > 0:
            self.abort()
            return
        self._send(b"0\r\n\r\n" if self._chunks else b"")
        if self._congested:
            await self._drain()

    def abort(self) -> None:
        """Cut the connection: what was sent so far can then not be taken for a whole answer."""
        self._ended = True
        self._closes = True
        if self._request is not None and self._request.transport is not None:
            if self._began and self._length is None and not self._chunks:
                _reset_on_close(self._request.transport)
            self._request.transport.abort()

    def _send(self, data: bytes) -> None:
        if self._pending:
            head, self._pending = self._pending, b""
            if len(data) > _JOIN:
                self._transport().write(head)
            else:
                data = head + data
        if data:
            self._transport().write(data)

    def _transport(self) -> asyncio.Transport:
        transport = self._request.transport if self._request is not None else None
        if transport is None or transport.is_closing():
            raise CallerGone("the caller has gone")
        return transport

    @property
    def _congested(self) -> bool:
        """Whether the caller takes its answer more slowly than it comes."""
        return self._request is not None and self._request.protocol.writing_paused

    async def _drain(self) -> None:
        assert self._request is not None  # noqa: S101 - begin has run
        try:
            async with asyncio.timeout(self.patience):
                await self._request.writer.drain()
        except TimeoutError:
            self.abort()
            raise CallerGone(f"the caller took nothing for {self.patience:g} s (`upstream.idle_timeout`)") from None


def _reset_on_close(transport: asyncio.Transport) -> None:
    """To HTTP/1.0 the end of the connection is the end of the body, so that only a reset shows that it was cut."""
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.family != socket.AF_UNIX:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
