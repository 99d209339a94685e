"""The traffic listener: makes a `CallerConnection` for each that is accepted, within the limits, and keeps time."""

import asyncio
from collections import Counter
from typing import Final

from gateway.config.schema.gateway import Limits
from gateway.core.limits import Limit
from gateway.core.refusal import Code, Reason, Refused
from gateway.proxy.caller_connection import LINGER, CallerConnection, Handler
from gateway.proxy.handler import DRAIN
from gateway.proxy.held_heads import HeldHeads
from gateway.proxy.turns import Turns
from gateway.telemetry.event import Emit
from gateway.telemetry.events.peers import LimitReached
from gateway.telemetry.events.process import ConnectionFault

# How late a connection may be closed that has taken too long: a tenth of the time for a head, and no more than this.
_LATEST: Final = 1.0


class Listener:
    """Callable as a factory of protocols. ``limits`` count from the moment that they are set.

    ``connections`` are those that are open.
    """

    def __init__(self, handler: Handler, limits: Limits, emit: Emit) -> None:
        self.handler: Final = handler
        self.limits = limits
        self.connections: Final[set[CallerConnection]] = set()
        self._emit: Final = emit
        self._heads: Final = HeldHeads()
        self._open: Counter[str] = Counter()
        self._shaking_hands = 0
        self._loop: Final = asyncio.get_running_loop()
        self.turns = Turns(self._loop)
        self._sweeper: asyncio.TimerHandle | None = None
        # Since when connections are closing whose callers do not take the rest of their answers.
        self._closing: Final[dict[CallerConnection, float]] = {}

    def __call__(self) -> CallerConnection:
        return CallerConnection(self, self._loop)

    def admit(self, connection: CallerConnection, address: str) -> Refused | None:
        """Count a new connection in, or say why not."""
        limit = self._full(address)
        if limit is not None:
            if limit is Limit.CONNECTIONS:
                return _overloaded(limit, self.limits.connections, "in all")
            return _overloaded(limit, self.limits.connections_per_address, "from one address")
        self.connections.add(connection)
        self._open[address] += 1
        if self._sweeper is None:
            self._sweep_later()
        return None

    def left(self, connection: CallerConnection, address: str) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        self._closing.pop(connection, None)
        self._leave(address)

    def hold_heads(self, connection: CallerConnection, address: str, size: int) -> None:
        """A connection holds so many bytes of heads now."""
        self._heads.hold(connection, address, size, self.limits.heads)

    def begin_handshake(self, address: str) -> Limit | None:
        """Count in a connection that begins its TLS handshake, or say which limit it is over."""
        limit = self._full(address)
        if limit is None:
            self._shaking_hands += 1
            self._open[address] += 1
        return limit

    def end_handshake(self, address: str) -> None:
        """Count it out: it is gone, or about to be admitted."""
        self._shaking_hands -= 1
        self._leave(address)

    def _full(self, address: str) -> Limit | None:
        limits = self.limits
        if len(self.connections) + self._shaking_hands >= limits.connections:
            return Limit.CONNECTIONS
        if address and self._open[address] >= limits.connections_per_address:
            return Limit.CONNECTIONS_PER_ADDRESS
        return None

    def _leave(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def report_fault(self, failure: Exception) -> None:
        """Log that a connection failed; the exception's text may quote a header, so only its type is reported."""
        self._emit(ConnectionFault(type(failure).__name__))

    def _sweep(self) -> None:
        """One timer for all connections: one for each would be re-armed for every request."""
        self._sweeper = None
        now = self._loop.time()
        late, unused, left_over = (
            now - seconds for seconds in (self.limits.head_timeout, self.limits.keepalive_timeout, LINGER)
        )
        for connection in [*self.connections]:
            since = connection.head_since
            if connection.transport is not None and connection.transport.is_closing():
                if self._closing.setdefault(connection, now) <= unused:
                    self._emit(LimitReached(Limit.ANSWER_SILENCE))
                    connection.abort()
            elif since is not None:
                if since <= late:
                    connection.say_last(_late_head())
                    connection.close()
            elif connection.skipping:
                if connection.idle_since <= left_over:
                    connection.close()
            elif connection.idle and connection.idle_since <= unused:
                connection.close()
        if self.connections:
            self._sweep_later()

    def _sweep_later(self) -> None:
        limits = self.limits
        seconds = min(_LATEST, limits.head_timeout / 10, limits.keepalive_timeout / 10)
        self._sweeper = self._loop.call_later(max(seconds, 0.05), self._sweep)

    @property
    def unfinished(self) -> bool:
        """Whether a request is in hand or its head is arriving."""
        return any(not connection.idle for connection in self.connections)

    def close_idle(self) -> None:
        """Close the connections on which nothing is going on."""
        for connection in [*self.connections]:
            if connection.idle:
                connection.close()

    def retire_certificates(self) -> None:
        """Have connections with a client certificate end after their next answer: who issued it may be withdrawn."""
        for connection in self.connections:
            connection.retiring = connection.retiring or connection.peer.certificate is not None

    def cut(self) -> None:
        """End every request in hand: one that has no answer yet gets ``draining``, a half-sent answer is cut."""
        for connection in [*self.connections]:
            connection.cut(DRAIN)

    async def stop(self) -> None:
        """Close every connection, whatever it is at."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in [*self.connections]:
            connection.abort()
        await asyncio.sleep(0)


def _late_head() -> Refused:
    return Refused(
        Code.REQUEST_TIMEOUT,
        Reason.TIME,
        "The request's head did not arrive in time.",
        note="`limits.head_timeout` has passed",
        fix="send the whole head without pauses, or raise `limits.head_timeout`",
        decided_by="limits.head_timeout",
        limit=Limit.HEAD_TIMEOUT,
    )


def _overloaded(limit: Limit, most: int, of_whom: str) -> Refused:
    return Refused(
        Code.OVERLOADED,
        Reason.LOAD,
        f"Too many connections {of_whom} are open.",
        note=f"`limits.{limit}` allows {most} connections {of_whom}",
        fix=f"close connections that are not used, or raise `limits.{limit}`",
        decided_by=f"limits.{limit}: {most}",
        headers=(("Retry-After", "1"),),
        limit=limit,
    )
