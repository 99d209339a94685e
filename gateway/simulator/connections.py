"""Connections below the request: their numbers, and the interim answer that a waiting client wants."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web


class NumberingServer(web.Server):
    """Numbers the open connections, from 1."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        numbers: dict[web.RequestHandler, int],
        **settings: Any,
    ) -> None:
        super().__init__(handler, **settings)
        self._numbers = numbers
        self._next = itertools.count(1)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self._numbers[handler] = next(self._next)
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._numbers.pop(handler, None)
        super().connection_lost(handler, exc)


def go_on(request: web.BaseRequest) -> None:
    """Answer ``Expect: 100-continue`` (RFC 9110 section 10.1.1) when the body is wanted, as it now is."""
    if request.transport is not None and request.headers.get("Expect", "").lower() == "100-continue":
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
