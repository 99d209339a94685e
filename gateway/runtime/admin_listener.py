"""The admin listener: the connections of the traffic listener, within bounds of their own.

Peers are not authenticated here, so no peer may exhaust the process through it. If all places are taken, the connection
that has waited longest without a request is closed, so a probe or a scrape always gets in.
"""

import asyncio
from typing import Final

from gateway.admin.access import Asked, Denied
from gateway.admin.pages import Answer, Pages, denial
from gateway.config.schema.gateway import Limits
from gateway.core.field_rules import Rules, request_rules
from gateway.core.limits import Limit
from gateway.core.refusal import Code, Refused
from gateway.proxy.caller_connection import CallerConnection
from gateway.proxy.listener import Listener
from gateway.proxy.refusing import ENDS_CONNECTION, field_lines
from gateway.proxy.reply import Reply, make_head
from gateway.proxy.request import Request
from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import AdminConnectionRefused, ConnectionFault

# Scrapers, probes and a few people; 64 of the largest heads are 4 MB.
CONNECTIONS: Final = 64
PER_ADDRESS: Final = 32
# To send a head, and to come back with the next request; a scraper connects anew.
HEAD_TIMEOUT: Final = 10.0
# For the answers that are being made when the process ends.
_LEAVING: Final = 5.0
_LOOK: Final = 0.02


class AdminListener(Listener):
    """Callable as a factory of protocols."""

    def __init__(self, pages: Pages, emit: Emit) -> None:
        limits = Limits(
            connections=CONNECTIONS,
            connections_per_address=PER_ADDRESS,
            head_timeout=HEAD_TIMEOUT,
            keepalive_timeout=HEAD_TIMEOUT,
        )
        super().__init__(_Handler(pages, emit), limits, emit)
        self._addresses: Final[dict[CallerConnection, str]] = {}

    def admit(self, connection: CallerConnection, address: str) -> Refused | None:
        """Count a new connection in, if necessary in the place of one that waits, or say why not."""
        limit = self._full(address)
        if limit is not None:
            same = address if limit is Limit.CONNECTIONS_PER_ADDRESS else None
            self._emit(AdminConnectionRefused("all" if same is None else "address"))
            waiting = [one for one, other in self._addresses.items() if _waits(one) and same in (None, other)]
            if waiting:
                longest = min(waiting, key=_since)
                self.left(longest, self._addresses[longest])
                longest.abort()
        refused = super().admit(connection, address)
        if refused is None:
            self._addresses[connection] = address
        return refused

    def left(self, connection: CallerConnection, address: str) -> None:
        """Count a connection out, once."""
        if self._addresses.pop(connection, None) is not None:
            super().left(connection, address)

    async def finish(self) -> None:
        """Let the answers that are being made leave, for a few seconds, and close every connection."""
        for connection in [*self.connections]:
            connection.retiring = True
            if not connection.serving:
                connection.close()
        deadline = self._loop.time() + _LEAVING
        while self.connections and self._loop.time() < deadline:  # noqa: ASYNC110 - seconds, once
            await asyncio.sleep(_LOOK)
        await self.stop()


def _waits(connection: CallerConnection) -> bool:
    """Whether no request of the connection is whole and still to be answered."""
    return connection.idle or connection.skipping or connection.head_since is not None


def _since(connection: CallerConnection) -> float:
    """Since when it waits: its last answer, or its beginning."""
    return connection.idle_since or connection.head_since or 0.0


class _Handler:
    """Answers requests with pages. What it tells of a request that is not valid HTTP quotes no byte of it."""

    def __init__(self, pages: Pages, emit: Emit) -> None:
        self._pages: Final = pages
        self._emit: Final = emit
        self._rules: Final = request_rules()

    def rules(self) -> Rules:
        return self._rules

    async def serve(self, request: Request, reply: Reply) -> None:
        """Answer a request. Raises CancelledError alone, where the peer leaves."""
        status, fields, body = await self._answer(request, reply.connection.peer.address)
        reply.closes = request.refused is not None and request.refused.reason in ENDS_CONNECTION
        try:
            await reply.whole(status, field_lines(fields), body)
        except ConnectionError:
            reply.abort()

    def last_words(self, refused: Refused) -> bytes:
        """The answer, in bytes, to a connection that ends before there is a request on it."""
        status, fields, body = denial(_denied(refused))
        return make_head(status, field_lines(fields), b"Content-Length: %d\r\nConnection: close\r\n" % len(body)) + body

    async def _answer(self, request: Request, peer: str) -> Answer:
        if request.refused is not None:
            return denial(_denied(request.refused))
        try:
            return await self._pages.answer(
                Asked(request.method, request.target.partition("?")[0], request.fields, peer)
            )
        except Exception as failure:  # noqa: BLE001 - a fault of the program, told without its text
            self._emit(ConnectionFault(type(failure).__name__))
            return denial(Denied(500, Code.INTERNAL_ERROR, "The gateway failed to serve this request."))


def _denied(refused: Refused) -> Denied:
    return Denied(refused.status, refused.code, refused.message)
