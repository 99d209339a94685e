"""The upstream leg behind one narrow interface: `Upstream.send` takes an `Outgoing` and gives an `Incoming`.

Connections are kept and used again, last used first. A GET or HEAD is sent once more when its connection failed before
a byte of the answer; nothing else is ever sent twice.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from gateway.config.schema.gateway import Upstream as Settings
from gateway.core.breaker import FAILURES, PROBE_EVERY, Breaker
from gateway.core.message import Framing, Head, write_head
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after
from gateway.net.addresses import PATIENCE, Address
from gateway.net.resolver import Names, Unresolved, family_of, place_of
from gateway.proxy.connection import Connection, Lost

if TYPE_CHECKING:
    from gateway.telemetry.spans import Trace

# Shorter than what common servers and load balancers grant (nginx 75 s, AWS ALB 60 s, Node.js 5 s is the exception),
# so that it is nearly always this side that closes an idle connection and no request meets a closing one.
_KEEP_IDLE: Final = 15.0
# How long a request waits for one of `max_connections`.
_ACQUIRE_TIMEOUT: Final = 2.0
_SWEEP: Final = 0.1
# Repeats may be a tenth of all requests and ten at a time, as in Linkerd's retry budget, so that an outage is not
# made worse by its own echo.
_RETRY_RATIO: Final = 0.1
_RETRY_BURST: Final = 10.0
# RFC 8305 section 8: how long one address is waited for before the next is tried beside it.
_NEXT_ADDRESS: Final = 0.25


class Outgoing(NamedTuple):
    """A request for the upstream. ``target`` is below the base URL; fields are without Host and framing.

    ``body`` is bytes, or an iterator of bytes with ``length`` where it is known. With a ``trace``, each time that it is
    sent is a span of its own, by whose ids the upstream can go on. ``on_leave`` is called just before each time.
    """

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None = None
    length: int | None = None
    trace: "Trace | None" = None
    on_leave: Callable[[], None] = lambda: None


# What goes wrong while connecting, and the error type of RFC 9209 section 2.3. The first row that fits wins.
_CONNECT_FAILURES: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (TimeoutError, "connection_timeout", "connecting to the upstream took too long"),
    (ssl.SSLCertVerificationError, "tls_certificate_error", "the upstream's certificate was refused"),
    (ssl.SSLError, "tls_protocol_error", "the TLS handshake with the upstream failed"),
    (ConnectionRefusedError, "connection_refused", "the upstream refused the connection"),
    (OSError, "destination_unavailable", "the upstream could not be reached"),
)
_CODES: Final = {
    "connection_timeout": Code.UPSTREAM_TIMEOUT,
    "http_response_timeout": Code.UPSTREAM_TIMEOUT,
    "connection_write_timeout": Code.UPSTREAM_TIMEOUT,
    "http_protocol_error": Code.UPSTREAM_BROKEN,
    "connection_terminated": Code.UPSTREAM_BROKEN,
}
# The resolver failed, not the upstream, which still answers on open connections. This does not open the circuit.
_UNRESOLVED: Final = frozenset({"dns_error", "dns_timeout"})
_SENTENCES: Final = {
    Code.UPSTREAM_TIMEOUT: "Productlane did not answer in time.",
    Code.UPSTREAM_BROKEN: "Productlane's answer was broken off or could not be read.",
    Code.UPSTREAM_UNREACHABLE: "Productlane could not be reached.",
}


def refusal(lost: Lost) -> Refused:
    """What the caller is told of a failed exchange."""
    code = _CODES.get(lost.error, Code.UPSTREAM_UNREACHABLE)
    return Refused(code, Reason.UPSTREAM, _SENTENCES[code], note=lost.note, proxy_error=lost.error)


def _kind(failure: BaseException) -> str:
    """What became of a request that was sent and not answered, in a word of RFC 9209, of ours or of Python's."""
    if isinstance(failure, Lost):
        return failure.error
    return failure.code.value if isinstance(failure, Refused) else type(failure).__name__


def _circuit_open() -> Refused:
    return Refused(
        Code.CIRCUIT_OPEN,
        Reason.UPSTREAM,
        "Productlane has stopped answering; one request a second is let through to see whether it is back.",
        note=f"the circuit is open after {FAILURES} requests in a row without an answer",
        headers=(retry_after(PROBE_EVERY),),
    )


class Incoming:
    """An answer whose head has arrived. It must be closed; closing it early frees the upstream.

    ``length`` is what the upstream states of the body's length, None where it states none; ``bodiless`` tells that none
    follows all the same, as to HEAD.
    """

    def __init__(self, connection: Connection, head: Head, release: Callable[[Connection], None]) -> None:
        self.status: Final = head.status
        self.reason: Final = head.reason
        self.fields: Final = head.fields
        self.length: Final = head.length
        self.bodiless: Final = head.framing is Framing.NONE
        self._connection = connection
        self._release: Callable[[Connection], None] | None = release

    @property
    def whole(self) -> bool:
        """Whether the body is complete, so that reading it does not wait."""
        return self._connection.complete

    async def read(self) -> bytes:
        """The next bytes of the body, ``b""`` at its end. Raises `Lost` where it is cut short."""
        return await self._connection.read()

    def rest(self) -> bytes:
        """What is left of a body that is `whole`."""
        return self._connection.take()

    def close(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self._connection)


class Upstream:
    """All connections to one base URL."""

    def __init__(
        self,
        settings: Settings,
        tls: ssl.SSLContext | None,
        *,
        names: Names,
        on_retry: Callable[[str], None] = lambda _reason: None,
        on_failure: Callable[[str], None] = lambda _error: None,
        on_circuit: Callable[[bool], None] = lambda _is_open: None,
    ) -> None:
        parts = urlsplit(settings.url)
        self._settings = settings
        self._tls = tls if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc
        self._base = parts.path
        self._names = names
        self._patience = min(PATIENCE, settings.connect_timeout / 2)
        self._on_retry = on_retry
        self._on_failure = on_failure
        self._on_circuit = on_circuit
        self._idle: list[Connection] = []
        self._active: set[Connection] = set()
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._retries = _RETRY_BURST
        self._breaker = Breaker()
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, outgoing: Outgoing) -> Incoming:
        """Send a request and wait for the head of its answer.

        Raises `Refused` where the upstream fails or has stopped answering, and whatever the body's iterator raises.
        """
        body = outgoing.body
        length = len(body) if isinstance(body, bytes) else outgoing.length
        if body is None:
            # RFC 9110 section 8.6: a method that anticipates content says that there is none.
            length = -1 if outgoing.method in ("GET", "HEAD", "DELETE", "OPTIONS") else 0
        self._names.keep(self._host)
        if not self._breaker.admit(self._loop.time()):
            raise _circuit_open()
        await self._acquire()
        try:
            incoming = await self._send(outgoing, length)
        except BaseException:
            self._slots.release()
            raise
        self._heard(answered=True)
        return incoming

    @property
    def circuit_open(self) -> bool:
        """Whether requests are refused because the upstream has stopped answering."""
        return self._breaker.is_open

    def _heard(self, *, answered: bool) -> None:
        was_open = self._breaker.is_open
        if answered:
            self._breaker.answered()
        else:
            self._breaker.failed(self._loop.time())
        if was_open is not self._breaker.is_open:
            self._on_circuit(self._breaker.is_open)

    async def _acquire(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(_ACQUIRE_TIMEOUT):
                await self._slots.acquire()
        except TimeoutError:
            raise Refused(
                Code.OVERLOADED,
                Reason.LOAD,
                "Too many requests are waiting for Productlane.",
                note=f"all {self._settings.max_connections} connections of `upstream.max_connections` are in use",
                headers=(retry_after(1),),
            ) from None

    async def _send(self, outgoing: Outgoing, length: int | None) -> Incoming:
        self._retries = min(_RETRY_BURST, self._retries + _RETRY_RATIO)
        may_repeat = outgoing.method in ("GET", "HEAD") and outgoing.body is None
        connection = self._take()
        while True:
            try:
                return await self._attempt(connection, outgoing, length)
            except Lost as lost:
                in_vain = lost.error in _UNRESOLVED or _CODES.get(lost.error) is Code.UPSTREAM_TIMEOUT
                if lost.answered or in_vain or not may_repeat or self._retries < 1:
                    if lost.error not in _UNRESOLVED:
                        self._heard(answered=lost.answered)
                    self._on_failure(lost.error)
                    raise refusal(lost) from None
                self._retries -= 1
                may_repeat = False
                connection = None
                self._on_retry("closed" if lost.error == "connection_terminated" else "connect")

    async def _attempt(self, connection: Connection | None, outgoing: Outgoing, length: int | None) -> Incoming:
        """Send it once. Raises `Lost` where no answer came of it."""
        span = None if outgoing.trace is None else outgoing.trace.send(self._host, self._port)
        fields = outgoing.fields if span is None else [*outgoing.fields, *span.fields]
        head = write_head(outgoing.method, self._base + outgoing.target, self._authority, fields, length)
        try:
            incoming = await self._exchange(connection or await self._connect(), outgoing, head)
        except BaseException as failure:
            if span is not None:
                span.failed(_kind(failure))
            raise
        if span is not None:
            span.answered(incoming.status)
        return incoming

    async def _exchange(self, connection: Connection, outgoing: Outgoing, head: bytes) -> Incoming:
        body = outgoing.body
        connection.idle_timeout = self._settings.idle_timeout
        connection.deadline = self._loop.time() + self._settings.response_timeout
        self._active.add(connection)
        self._sweep_later()
        outgoing.on_leave()
        try:
            if body is None or isinstance(body, bytes):
                answer = connection.begin(outgoing.method, head + body if body else head)
                connection.sent()
                response = await answer
            else:
                response = await self._stream(connection, outgoing, head, body)
        except BaseException:
            self._active.discard(connection)
            connection.abort()
            raise
        return Incoming(connection, response, self._release)

    async def _stream(
        self, connection: Connection, outgoing: Outgoing, head: bytes, body: AsyncIterator[bytes]
    ) -> Head:
        """Send a body as it comes. An answer that arrives before its end is taken, and the rest is not sent."""
        answer = connection.begin(outgoing.method, head)
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
                connection.deadline = min(connection.deadline, self._loop.time() + self._settings.idle_timeout)

    async def _pump(self, connection: Connection, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        forever = float("inf")
        connection.deadline = forever  # While the caller is silent, its own time-out runs.
        async for piece in body:
            if piece:
                connection.deadline = self._loop.time() + self._settings.idle_timeout
                await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                connection.deadline = forever
        if chunked:
            await connection.write(b"0\r\n\r\n")
        connection.sent()
        connection.deadline = self._loop.time() + self._settings.response_timeout

    def _take(self) -> Connection | None:
        """An idle connection, the one used last; older ones that are past their time are closed."""
        oldest = self._loop.time() - _KEEP_IDLE
        while self._idle and (self._idle[0].idle_since < oldest or not self._idle[0].alive):
            self._idle.pop(0).abort()
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        return None

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                return await self._connect_to(await self._names.find(self._host, self._patience))
        except Unresolved as failure:
            error = "dns_timeout" if failure.silent else "dns_error"
            raise Lost(error, f"the upstream's name does not resolve: {failure.why}") from None
        except Exception as failure:
            for kind, error, note in _CONNECT_FAILURES:
                if isinstance(failure, kind):
                    raise Lost(error, note) from None
            raise

    async def _connect_to(self, addresses: Sequence[Address]) -> Connection:
        """Race them as RFC 8305 says, and go on with the first one that is there."""
        tcp = socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        places = [(family_of(one), *tcp, place_of(one, self._port)) for one in addresses]
        # They are in their order already, the families in turn.
        channel = await start_connection(places, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=0, loop=self._loop)
        at = 0
        try:
            peer = channel.getpeername()
            at = next((at for at, place in enumerate(places) if place[4] == peer), 0)
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._loop),
                sock=channel,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            channel.close()
            self._names.avoid(self._host, addresses[: at + 1])
            raise
        self._names.avoid(self._host, addresses[:at])
        return connection

    def _release(self, connection: Connection) -> None:
        self._active.discard(connection)
        self._slots.release()
        if connection.reusable and not self._closed:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
        else:
            connection.abort()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        """One timer for all deadlines: re-arming one for every read would cost more than the read."""
        self._sweeper = None
        now = self._loop.time()
        for connection in [c for c in self._active if c.deadline <= now]:
            connection.expire()
        if self._active:
            self._sweep_later()

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return bool(self._active)

    def retire(self) -> None:
        """Keep no connection from now on: another upstream has taken this one's place. Exchanges under way go on."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    async def close(self) -> None:
        """Close every connection; exchanges that are under way end as broken. One that begins later keeps its time."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in (*self._idle, *self._active):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)
