"""The upstream leg behind one narrow interface: `Upstream.send` takes an `Outgoing` and gives an `Incoming`.

Connections are kept and used again, last used first. A GET or HEAD is sent once more when its connection failed before
a byte of the answer; nothing else is ever sent twice.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from msgspec.structs import replace

from gateway.config.schema.upstream import Upstream as Settings
from gateway.core.breaker import FAILURES, PROBE_EVERY, Breaker
from gateway.core.field_rules import answer_rules
from gateway.core.message import Head, write_head
from gateway.core.network_faults import OF_THE_RESOLVER, NetworkFault
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after
from gateway.net.resolver import Names
from gateway.proxy.connecting import Connector
from gateway.proxy.lost import Lost
from gateway.proxy.pool import Pool
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_messages import Incoming, Outgoing, refusal
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.peers import CircuitClosed, CircuitOpen, UpstreamFailure, UpstreamRetry

if TYPE_CHECKING:
    from gateway.telemetry.record import Trace

# Repeats may be a tenth of all requests and ten at a time, as in Linkerd's retry budget, so that an outage is not
# made worse by its own echo.
_RETRY_RATIO: Final = 0.1
_RETRY_BURST: Final = 10.0
_FOREVER: Final = float("inf")
_READS: Final = frozenset({"GET", "HEAD"})
# RFC 9110 section 8.6: another method anticipates content, and its request says that there is none.
_WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class Upstream:
    """All connections to one base URL."""

    def __init__(
        self,
        settings: Settings,
        tls: ssl.SSLContext | None,
        *,
        names: Names,
        emit: Emit = ignore,
    ) -> None:
        parts = urlsplit(settings.url)
        tls = tls if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        self._idle_timeout = settings.idle_timeout
        self._answer_timeout = settings.answer_timeout
        self._response_timeout = settings.response_timeout
        self._connector = Connector(
            parts.hostname or "",
            port,
            tls,
            names=names,
            timeout=settings.connect_timeout,
            rules=answer_rules(settings.response_fields),
        )
        self._authority = parts.netloc.encode()
        self._base = parts.path.encode()
        self._emit = emit
        self._pool = Pool(settings.max_connections, self._connector.keep_name)
        self._retries = _RETRY_BURST
        self._breaker = Breaker()
        self._loop = asyncio.get_running_loop()

    async def send(self, outgoing: Outgoing) -> Incoming:
        """Send a request and wait for the head of its answer.

        Raises `Refused` where the upstream fails or has stopped answering, and whatever the body's iterator raises.
        """
        caller, breaker, pool = outgoing.caller, self._breaker, self._pool
        if breaker.failing and not breaker.admit(self._loop.time(), caller):
            raise _circuit_open()
        if not pool.enter(caller):
            await pool.wait(caller)
        if self._retries < _RETRY_BURST:
            self._retries += _RETRY_RATIO
        may_repeat = outgoing.body is None and outgoing.method in _READS
        attempt = self._attempt if outgoing.trace is None else self._traced
        try:
            try:
                incoming = await attempt(pool.idle(undisturbed=not may_repeat), outgoing)
            except Lost as lost:
                incoming = await self._repeat(outgoing, lost, may_repeat)
        except BaseException:
            pool.leave(caller)
            raise
        if breaker.failing:
            self._heard(caller)
        return incoming

    @property
    def circuit_open(self) -> bool:
        """Whether requests are refused because the upstream has stopped answering."""
        return self._breaker.is_open

    def _heard(self, caller: str, lost: Lost | None = None) -> None:
        """Tell the breaker that an answer came, or that none did."""
        was_open = self._breaker.is_open
        if lost is None or lost.answered:
            self._breaker.answered(caller)
        else:
            self._breaker.failed(self._loop.time(), caller, connected=lost.connected)
        if was_open is not self._breaker.is_open:
            self._emit(CircuitOpen() if self._breaker.is_open else CircuitClosed())

    async def _repeat(self, outgoing: Outgoing, lost: Lost, may_repeat: bool) -> Incoming:
        """Send a request that got no answer once more, where that may help. Raises `Refused`."""
        if may_repeat and self._worth_repeating(lost):
            self._emit(UpstreamRetry("closed" if lost.fault is NetworkFault.CONNECTION_TERMINATED else "connect"))
            try:
                return await (self._attempt if outgoing.trace is None else self._traced)(None, outgoing)
            except Lost as again:
                lost = again
        # A body that was not wholly sent says more about its caller than about the upstream.
        if lost.fault not in OF_THE_RESOLVER and not lost.in_body:
            self._heard(outgoing.caller, lost)
        self._emit(UpstreamFailure(lost.fault.value))
        raise refusal(lost) from None

    def _worth_repeating(self, lost: Lost) -> bool:
        """Whether sending once more may help, and repeats are not exhausted; it counts as one then."""
        in_vain = lost.fault in OF_THE_RESOLVER or lost.fault.code is Code.UPSTREAM_TIMEOUT
        if lost.answered or in_vain or self._retries < 1:
            return False
        self._retries -= 1
        return True

    async def _traced(self, connection: UpstreamConnection | None, outgoing: Outgoing) -> Incoming:
        """An attempt within a span of its own."""
        trace = cast("Trace", outgoing.trace)
        span = trace.send(self._connector.host, self._connector.port)
        ids = b"".join(f"{name}: {value}\r\n".encode() for name, value in span.fields)
        try:
            incoming = await self._attempt(connection, replace(outgoing, own=outgoing.own + ids))
        except BaseException as failure:
            span.failed(_kind(failure))
            raise
        span.answered(incoming.status)
        return incoming

    async def _attempt(self, connection: UpstreamConnection | None, outgoing: Outgoing) -> Incoming:
        """Send it once. Raises `Lost` where no answer came of it."""
        method, body = outgoing.method, outgoing.body
        length = outgoing.length
        if body is None:
            length = -1 if method in _WITHOUT_CONTENT else 0
        elif isinstance(body, bytes):
            length = len(body)
        target = self._base + outgoing.target
        head = write_head(method, target, self._authority, outgoing.lines, outgoing.own, length)
        if connection is None:
            connection = await self._connector.connect()
        connection.idle_timeout = self._idle_timeout
        connection.deadline = self._loop.time() + self._response_timeout
        self._pool.begin(connection)
        outgoing.on_sent()
        try:
            if body is None or isinstance(body, bytes):
                response = await connection.begin(method, head + body if body else head)
            else:
                response = await self._stream(connection, outgoing, head, body)
        except BaseException:
            self._pool.fail(connection)
            raise
        if not connection.complete:
            connection.ends = self._loop.time() + self._answer_timeout
        return Incoming(connection, response, self._pool.end, outgoing.caller)

    async def _stream(
        self, connection: UpstreamConnection, outgoing: Outgoing, head: bytes, body: AsyncIterator[bytes]
    ) -> Head:
        """Send a body as it comes. An answer that arrives before its end is taken, and the rest is not sent."""
        answer = connection.begin(outgoing.method, head, whole=False)
        pump = asyncio.ensure_future(self._pump(connection, body, chunked=outgoing.length is None))
        try:
            await asyncio.wait((answer, pump), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                await pump  # Raises what the body raised; else the answer is all that is missing.
            return await answer
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            if not connection.complete:
                # The pump may have taken the deadline away after the answer had begun.
                connection.deadline = min(connection.deadline, self._loop.time() + self._idle_timeout)

    async def _pump(self, connection: UpstreamConnection, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        connection.deadline = _FOREVER  # While the caller is silent, its own time-out runs.
        async for piece in body:
            connection.deadline = self._loop.time() + self._idle_timeout
            await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            connection.deadline = _FOREVER
        if chunked:
            await connection.write(b"0\r\n\r\n")
        connection.sent()
        connection.deadline = self._loop.time() + self._response_timeout

    def expect(self, callers: int) -> None:
        """How many callers there can be; while there are several, none holds more than half of the connections."""
        self._pool.expect(callers)

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return self._pool.busy

    def retire(self) -> None:
        """Keep no connection from now on: another upstream has taken this one's place. Exchanges under way go on."""
        self._pool.retire()

    async def close(self) -> None:
        """Close every connection; exchanges that are under way end as broken. One that begins later keeps its time."""
        await self._pool.close()


def _circuit_open() -> Refused:
    return Refused(
        Code.CIRCUIT_OPEN,
        Reason.UPSTREAM,
        "Productlane has stopped answering; one request a second is let through to see whether it is back.",
        note=f"the circuit is open after {FAILURES} requests in a row without an answer",
        fix="send it again soon; if it lasts, run `productlane-gateway doctor` in its place",
        headers=(retry_after(PROBE_EVERY),),
    )


def _kind(failure: BaseException) -> str:
    """What became of a request that was sent and not answered, in a word of RFC 9209, of ours or of Python's."""
    if isinstance(failure, Lost):
        return failure.fault.value
    return failure.code.value if isinstance(failure, Refused) else type(failure).__name__
