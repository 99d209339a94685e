"""The traffic listener: aiohttp's HTTP/1.1 parser and connections, with the limits and silences that they lack."""

import asyncio
from collections import Counter
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from gateway.callers.peers import STRANGER, Peer, peer_of
from gateway.config.schema.gateway import Limits
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after
from gateway.proxy import aiohttp_internals as footing
from gateway.proxy import edge
from gateway.proxy.handler import Handler
from gateway.telemetry.events.process import ConnectionFault
from gateway.telemetry.log import Log

_SWEEP: Final = 0.5
# How long a caller that was refused in the middle of its body may go on sending, so that it reads the answer instead
# of a reset (RFC 9112 section 9.6).
_LINGER: Final = 2.0


class Connection(RequestHandler):
    """One caller's connection.

    ``serving`` counts its requests in hand; ``head_since`` is the loop time at which a head began to arrive;
    ``peer`` is who is at its other end.
    """

    __slots__ = ("_address", "_admitted", "_body", "_deaf", "_listener", "_pending", "head_since", "peer", "serving")

    def __init__(self, listener: "Listener", **options: Any) -> None:
        super().__init__(listener, **options)
        self._listener = listener
        self._address = ""
        self._admitted = False
        self._body: StreamReader = EMPTY_PAYLOAD
        self._deaf = False
        self._pending = 0
        self.peer: Peer = STRANGER
        self.serving = 0
        self.head_since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing has arrived since the last answer, and nothing of what arrived before is still to be done.

        What is left of a refused request's body is read past after its answer (see `_LINGER`).
        """
        return not self.serving and self.head_since is None and not self._messages and self._body.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        refused = self._listener.admit(self._address)
        if refused is not None:
            cast(asyncio.Transport, transport).write(self._listener.handler.last_words(refused))
            cast(asyncio.Transport, transport).close()
            return
        self._admitted = True
        self.peer = peer_of(transport)
        self.head_since = self._loop.time()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._admitted:
            self._listener.left(self._address)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._admitted or self._deaf:
            return
        if data and self.idle:
            self.head_since = self._loop.time()
        before, in_body, length = self._request_count, not self._body.is_eof(), self._body.total_bytes
        super().data_received(data)
        if self._request_count != before:
            if not self._body.is_eof():
                # Nothing can follow an unfinished body but a breach of its framing. aiohttp tells whoever comes next of
                # it, and leaves the reader of the body waiting.
                self._body.set_exception(web.RequestPayloadError())
                self._body.feed_eof()
            message, self._body = self._messages[-1]
            if not isinstance(message, RawRequestMessage):
                # The parser has given up; aiohttp would let it fail again on every further byte.
                self._deaf, self.head_since = True, None
                return
            # What follows the empty line of a request without a body is a part of the next head.
            self._pending = max(0, len(data) - data.rfind(b"\r\n\r\n") - 4) if self._body is EMPTY_PAYLOAD else 0
        elif in_body:
            self._pending = 0 if self._body.total_bytes != length else self._pending + len(data)
        else:
            self._pending += len(data)
        if self._pending > edge.MAX_HEAD:
            self._too_long()

    def _too_long(self) -> None:
        """More than a head's worth has come that was neither a whole head nor body: a head or trailers without end."""
        if self.transport is None or self.serving or self._messages or not self._body.is_eof():
            self.force_close()
            return
        self.transport.write(self._listener.handler.last_words(edge.head_too_long()))
        self._stop_listening()
        self._loop.call_later(_LINGER, self.force_close)

    def _stop_listening(self) -> None:
        """Nothing more is said, and what still comes is dropped.

        Closing at once would reset the connection under a caller that is still sending, and take the answer with it
        (RFC 9112 section 9.6).
        """
        self._deaf = True
        self.head_since = None
        self._half_close()

    def _half_close(self) -> None:
        if self.transport is not None and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        if self._deaf and not self._messages:
            self._stop_listening()
            await asyncio.sleep(_LINGER)  # Cut short where the caller leaves.
        elif not resp.keep_alive and not request.content.is_eof():
            self._half_close()  # aiohttp itself reads and drops what is left of the body.
        return finished

    def served(self) -> None:
        """A request has been answered; the next one's head may have begun to arrive meanwhile."""
        self.serving -= 1
        if self._pending and self._body.is_eof() and not self.serving:
            self.head_since = self._loop.time()

    def expire_head(self) -> None:
        """The head did not arrive in time (RFC 9110 section 15.5.9)."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._listener.handler.last_words(_late_head()))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse. Its own answer and log line would quote the offending bytes."""
        return self._listener.handler.refuse(request, edge.unparsed(exc))

    def log_exception(self, *_args: Any, **kw: Any) -> None:
        """Tell that a connection failed; the exception's text may quote a header, so only its type is told."""
        self._listener.log.event(ConnectionFault(type(kw.get("exc_info")).__name__))


class Listener(web.Server):
    """Makes a `Connection` for each that is accepted, within the limits, and closes those whose head does not come.

    Other ``limits`` count from the moment that they are set; open connections keep their `keepalive_timeout`.
    """

    def __init__(self, handler: Handler, limits: Limits, log: Log) -> None:
        super().__init__(self._serve, handler_cancellation=True)
        self.handler: Final = handler
        self.log: Final = log
        self.limits = limits
        self._open: Counter[str] = Counter()
        self._connected = 0
        self._loop_now = asyncio.get_running_loop().time
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
        if strays := footing.strays(self(), edge.PARSER_LIMITS):
            raise RuntimeError(f"aiohttp does not take the listener's limits: {', '.join(strays)}")

    def __call__(self) -> RequestHandler:
        """The protocol of a new connection.

        aiohttp's own factory falls back to defaults for all options where one is misspelt; this one fails.
        """
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self.limits.keepalive_timeout,
            lingering_time=_LINGER,
            **edge.PARSER_LIMITS,
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        connection.serving += 1
        connection.head_since = None
        try:
            return await self.handler(request)
        finally:
            connection.served()

    def admit(self, address: str) -> Refused | None:
        """Count a new connection in, or say why not."""
        limits = self.limits
        if self._connected >= limits.connections:
            return _overloaded(f"`limits.connections` allows {limits.connections} connections")
        if address and self._open[address] >= limits.connections_per_address:
            allowed = limits.connections_per_address
            return _overloaded(f"`limits.connections_per_address` allows {allowed} connections of one address")
        self._connected += 1
        self._open[address] += 1
        return None

    def left(self, address: str) -> None:
        self._connected -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def _sweep(self) -> None:
        """One timer for all heads: aiohttp's own counts silence from the last answer only."""
        now = self._loop_now()
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
        oldest = now - self.limits.head_timeout
        for connection in self.connections:
            since = cast(Connection, connection).head_since
            if since is not None and since <= oldest:
                cast(Connection, connection).expire_head()

    @property
    def unfinished(self) -> bool:
        """Whether a request is in hand or its head is arriving."""
        return any(not cast(Connection, connection).idle for connection in self.connections)

    def close_idle(self) -> None:
        """Close the connections on which nothing is going on."""
        for connection in self.connections:
            if cast(Connection, connection).idle:
                connection.force_close()

    async def stop(self) -> None:
        """Close every connection, whatever it is at."""
        self._sweeper.cancel()
        await self.shutdown(0.1)


def _late_head() -> Refused:
    return Refused(
        Code.REQUEST_TIMEOUT,
        Reason.TIME,
        "The request's head did not arrive in time.",
        note="`limits.head_timeout` has passed",
    )


def _overloaded(note: str) -> Refused:
    return Refused(Code.OVERLOADED, Reason.LOAD, "Too many connections are open.", note=note, headers=(retry_after(1),))
