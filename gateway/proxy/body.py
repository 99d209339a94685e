"""The caller's body, bounded in size and in silence, read no earlier than the request is allowed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from gateway.core.refusal import Code, Reason, Refused
from gateway.proxy import edge
from gateway.telemetry.record import Record

# A body up to this size is read before the upstream is asked: a slow caller then holds no upstream connection, and the
# request leaves in one write.
_AT_ONCE: Final = 65_536


class Body:
    """The body of one request; ``limit`` is in bytes, ``idle_timeout`` in seconds.

    ``length`` is the stated length, None for a chunked body. Raises `Refused`: ``payload_too_large`` before a byte is
    read where the stated length is over the limit.
    """

    def __init__(self, request: web.BaseRequest, record: Record, *, limit: int, idle_timeout: float) -> None:
        self._request = request
        self._record = record
        self._limit = limit
        self._idle_timeout = idle_timeout
        chunked = "Transfer-Encoding" in request.headers
        self.length: Final = None if chunked else int(request.headers.get("Content-Length", "0"))
        if self.length is not None and self.length > limit:
            raise self._too_large()

    async def open(self) -> bytes | AsyncIterator[bytes] | None:
        """None where there is no body, bytes where it is small, else an iterator over what arrives.

        Sends 100 Continue where it was asked for. Reading raises `Refused`: ``payload_too_large``, ``request_timeout``,
        ``invalid_request`` for broken framing.
        """
        stated = "Content-Length" in self._request.headers
        if self.length == 0:
            return b"" if stated else None
        if edge.waits_for_continue(self._request) and self._request.transport is not None:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.length is not None and self.length <= _AT_ONCE:
            return b"".join([piece async for piece in self._pieces()])
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        content = self._request.content
        while True:
            try:
                async with asyncio.timeout(self._idle_timeout):
                    piece = await content.readany()
            except TimeoutError:
                raise Refused(
                    Code.REQUEST_TIMEOUT,
                    Reason.TIME,
                    "The request's body stopped arriving.",
                    note=f"the caller sent nothing for {self._idle_timeout:g} s (`upstream.idle_timeout`)",
                ) from None
            except web.RequestPayloadError:
                raise Refused(
                    Code.INVALID_REQUEST, Reason.FRAMING, "The request's body is not framed as RFC 9112 asks."
                ) from None
            if not piece:
                return
            self._record.bytes_in += len(piece)
            if self._record.bytes_in > self._limit:
                raise self._too_large()
            yield piece

    def _too_large(self) -> Refused:
        return Refused(
            Code.PAYLOAD_TOO_LARGE,
            Reason.BODY,
            f"The body is larger than {self._limit} bytes.",
            note=f"`limits.body` allows {self._limit} bytes for lane {self._record.lane}",
        )
