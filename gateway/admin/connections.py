"""Bounds the connections of the admin listener, so that no peer can exhaust the process through it.

Peers are not authenticated here. If all places are taken, the connection that has waited longest without a request is
closed, so a probe or a scrape always gets in.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from aiohttp import web

from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import AdminConnectionRefused

# Scrapers, probes and a few people. A head is a path and a scraper's fields; 64 of the largest are 4 MB.
CONNECTIONS: Final = 64
PER_ADDRESS: Final = 32
MAX_LINE: Final = 2_048
MAX_FIELD: Final = 4_096
MAX_FIELDS: Final = 32
# To send a head, and to come back with the next request; a scraper connects anew.
HEAD_TIMEOUT: Final = 10.0


class Places:
    """The open connections by address; those that wait for a request are in order, the longest first."""

    def __init__(self, emit: Emit) -> None:
        self._emit: Final = emit
        self._open: Final[dict[AdminConnection, str]] = {}
        self._waiting: Final[OrderedDict[AdminConnection, None]] = OrderedDict()

    def take(self, connection: "AdminConnection", address: str) -> bool:
        """Whether the connection gets a place, if necessary that of one that waits."""
        same = [one for one, other in self._open.items() if other == address]
        full = "address" if len(same) >= PER_ADDRESS else "all" if len(self._open) >= CONNECTIONS else ""
        if full:
            self._emit(AdminConnectionRefused(full))
            waiting = next((one for one in self._waiting if full == "all" or one in same), None)
            if waiting is None:
                return False
            self.leave(waiting)
            waiting.abort()
        self._open[connection] = address
        self._waiting[connection] = None
        return True

    def serves(self, connection: "AdminConnection", *, busy: bool) -> None:
        """Note that a request is in hand, or answered."""
        self._waiting.pop(connection, None)
        if not busy and connection in self._open:
            self._waiting[connection] = None

    def leave(self, connection: "AdminConnection") -> None:
        self._open.pop(connection, None)
        self._waiting.pop(connection, None)


class AdminConnection(web.RequestHandler):
    """aiohttp's connection within the bounds of `Places`. It quotes nothing to a peer of bytes that it cannot parse."""

    __slots__ = ("_places",)

    def __init__(self, server: web.Server, places: Places) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=HEAD_TIMEOUT,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            lingering_time=0.0,
        )
        self._places = places

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        super().connection_made(transport)
        if not self._places.take(self, str(peer[0]) if isinstance(peer, tuple) else ""):
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._places.leave(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, without an answer."""
        if self.transport is not None:
            self.transport.abort()

    def serves(self, *, busy: bool) -> None:
        """Note that a request is in hand, or answered."""
        self._places.serves(self, busy=busy)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it is what quotes them
    ) -> web.StreamResponse:
        return super().handle_error(request, status, exc, "The request is not valid HTTP/1.1.")
