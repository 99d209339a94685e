"""TLS handshakes with callers: counted from the moment of accepting, bounded in time, and reported where they fail.

A TLS server of the event loop shows a connection only once its handshake is over, so that one which says nothing is in
no count. Here the server is a plain one, and each connection is upgraded.
"""

import asyncio
import ssl
from typing import Final, Protocol, cast

from gateway.callers.peers import address_of
from gateway.config.schema.gateway import Limits
from gateway.core.limits import HANDSHAKE_SHARE, MOST_HANDSHAKES, Limit
from gateway.proxy.handshake_bytes import HandshakeBytes
from gateway.proxy.turns import Turns
from gateway.telemetry.event import Emit
from gateway.telemetry.events.peers import LimitReached, TlsHandshakeFailed

# How long a caller may take to say goodbye in TLS; asyncio's 30 s would hold up the end of a drain.
_GOODBYE: Final = 2.0
# Failures of one reason are logged at most this often, in seconds.
_LOG_EVERY: Final = 1.0

# What a ClientHello may have in bytes. OpenSSL takes eight times as much, for which a connection takes 570 kB.
MAX_HELLO: Final = 16_384
# A record of TLS with a handshake message (RFC 8446 section 5.1), and what tells how long its message is: the record's
# head, the message's type and its length (section 4).
_HANDSHAKE: Final = 0x16
_TELLS_LENGTH: Final = 9

# X509_V_ERR_* of OpenSSL's x509_vfy.h: dates; and an issuer that is not there, not trusted, or has another key.
_DATES: Final = frozenset({9, 10})
_ISSUERS: Final = frozenset({2, 7, 18, 19, 20, 21})
# Of the reasons of OpenSSL's sslerr.h, what they contain: alerts by which a caller rejects a certificate (RFC 8446
# section 6.2), and bytes that are no TLS, or none that this listener speaks.
_REJECTS: Final = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERT", "ALERT_CERTIFICATE", "ALERT_UNSUPPORTED_CERT")
_PROTOCOL: Final = ("HTTP", "VERSION", "PROTOCOL", "CIPHER", "SHARED", "RECORD", "LENGTH", "UNEXPECTED")


class Owner(Protocol):
    """What accepts connections, and counts them."""

    limits: Limits
    turns: Turns

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a connection whose handshake is over."""

    def begin_handshake(self, address: str) -> Limit | None:
        """Count in a connection that begins its handshake, or say which limit it is over."""

    def end_handshake(self, address: str) -> None:
        """Count it out: it is gone, or about to be admitted."""


class Handshakes:
    """Callable as a factory of protocols: each does its handshake with ``context``, and is then one of ``owner``'s."""

    def __init__(self, owner: Owner, context: ssl.SSLContext, emit: Emit) -> None:
        self._owner: Final = owner
        self._context: Final = context
        self._emit: Final = emit
        self._loop: Final = asyncio.get_running_loop()
        # The one that has waited longest first.
        self._under_way: Final[dict[_Accepted, asyncio.TimerHandle]] = {}
        self._quiet_until: Final[dict[str, float]] = {}
        self._unlogged: Final[dict[str, int]] = {}

    def __call__(self) -> "_Accepted":
        return _Accepted(self, self._loop)

    def accepted(self, one: "_Accepted") -> None:
        """Count a connection in, unless it is over a limit."""
        limits = self._owner.limits
        limit = self._owner.begin_handshake(one.address)
        if limit is not None:
            self._over(limit, one.address)
            one.abort()
            return
        if len(self._under_way) >= max(1, min(limits.connections // HANDSHAKE_SHARE, MOST_HANDSHAKES)):
            longest = next(iter(self._under_way))
            self._over(Limit.HANDSHAKES, longest.address)
            self._drop(longest)
        self._under_way[one] = self._loop.call_later(limits.handshake_timeout, self._late, one)

    def lost(self, one: "_Accepted") -> None:
        """The caller has left without a byte."""
        if self._end(one):
            self._report("closed", one.address)

    def too_long(self, one: "_Accepted") -> None:
        """The caller's ClientHello is over `MAX_HELLO`, or hides how long it is; or its whole handshake is too long."""
        self._report("protocol", one.address, "HANDSHAKE_TOO_LONG" if one.measures else "CLIENT_HELLO_TOO_LONG")
        self._drop(one)

    def stop(self) -> None:
        """End every handshake that is under way."""
        for one in [*self._under_way]:
            self._drop(one)

    def _late(self, one: "_Accepted") -> None:
        self._emit(LimitReached(Limit.HANDSHAKE_TIMEOUT))
        self._report("timeout", one.address)
        self._drop(one)

    def _drop(self, one: "_Accepted") -> None:
        self._end(one)
        one.abort()

    def _end(self, one: "_Accepted") -> bool:
        """Count it out; false where that was done before."""
        timer = self._under_way.pop(one, None)
        if timer is None:
            return False
        timer.cancel()
        self._owner.end_handshake(one.address)
        return True

    async def upgrade(self, one: "_Accepted", transport: asyncio.Transport, begun: bytes) -> None:
        """Do the handshake, whose first bytes have come, and go on with the connection that the owner makes."""
        if (turn := self._owner.turns.take(one.address)) is not None:
            await turn
        if transport.is_closing():
            return  # The caller has left, which is counted.
        connection = self._owner()
        # Once the protocol of `start_tls` is in its place.
        self._loop.call_soon(one.measure, transport, begun)
        try:
            upgraded = await self._loop.start_tls(
                transport,
                connection,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._owner.limits.handshake_timeout,
                ssl_shutdown_timeout=_GOODBYE,
            )
        except OSError as failure:
            if self._end(one):
                self._report(*_why(failure, one.address))
            transport.abort()
            return
        one.measured()
        # In the same turn: what the caller has sent behind its handshake is read in the next.
        if not self._end(one) or upgraded is None or upgraded.is_closing():
            transport.abort()
        else:
            connection.connection_made(upgraded)

    def _over(self, limit: Limit, address: str) -> None:
        self._emit(LimitReached(limit))
        self._report("overloaded", address, limit)

    def _report(self, reason: str, address: str, error: str | None = None) -> None:
        """Count a failure; log it unless one of its reason was logged a moment ago."""
        now = self._loop.time()
        logged = now >= self._quiet_until.get(reason, 0.0)
        more = self._unlogged.pop(reason, 0)
        if logged:
            self._quiet_until[reason] = now + _LOG_EVERY
        else:
            self._unlogged[reason] = more + 1
        self._emit(TlsHandshakeFailed(reason, address or None, error, more or None, logged))


class _Accepted(asyncio.Protocol):
    """A connection before its handshake, which begins with the caller's first bytes: silence costs no TLS."""

    __slots__ = ("_begun", "_bytes", "_handshakes", "_loop", "_task", "_transport", "address")

    def __init__(self, handshakes: Handshakes, loop: asyncio.AbstractEventLoop) -> None:
        self._handshakes = handshakes
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._begun = b""
        self._bytes: HandshakeBytes | None = None
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.address = address_of(transport)
        self._handshakes.accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._task is not None or self._transport is None or self._transport.is_closing():
            return
        begun = self._begun = self._begun + data
        if begun[0] == _HANDSHAKE:
            if len(begun) < _TELLS_LENGTH:
                return
            if _too_long(begun):
                self._handshakes.too_long(self)
                return
        self._transport.pause_reading()  # `start_tls` resumes it.
        self._task = self._loop.create_task(self._handshakes.upgrade(self, self._transport, begun))
        self._begun = b""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._handshakes.lost(self)

    @property
    def measures(self) -> bool:
        """Whether the handshake itself is under way."""
        return self._bytes is not None

    def measure(self, transport: asyncio.Transport, begun: bytes) -> None:
        """Give the handshake what came before it, and count what comes."""
        if not transport.is_closing():
            self._bytes = HandshakeBytes(transport, begun, self._too_long)

    def measured(self) -> None:
        """The handshake is over."""
        if self._bytes is not None:
            self._bytes.end()

    def _too_long(self) -> None:
        self._handshakes.too_long(self)

    def abort(self) -> None:
        """Drop the connection without waiting for the caller."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()


def _too_long(begun: bytes) -> bool:
    """Whether the first message is over `MAX_HELLO`. A record that ends before the length of its message hides it."""
    record, message = int.from_bytes(begun[3:5], "big"), int.from_bytes(begun[6:9], "big")
    return record < _TELLS_LENGTH - 5 or message > MAX_HELLO


def _why(failure: OSError, peer: str) -> tuple[str, str, str | None]:
    """The reason of a failed handshake, for the metric, and OpenSSL's own word for it."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        kind = "expired" if failure.verify_code in _DATES else "certificate"
        return "unknown_ca" if failure.verify_code in _ISSUERS else kind, peer, failure.verify_message
    if isinstance(failure, ssl.SSLError):
        error = failure.reason or ""
        if any(word in error for word in _REJECTS):
            return "not_accepted", peer, error
        return "protocol" if any(word in error for word in _PROTOCOL) else "other", peer, error or None
    return "closed", peer, None
