"""Answers on the wire, complete or as a fault demands."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.simulator.faults import Act, Fault

_NOT_HTTP: Final = b"HTTP/1.1 OK 200 \r\nthis is no header field\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, header fields and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Gone(web.Response):
    """The answer of a connection that is no more; aiohttp takes the error for a client that has left."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        raise ConnectionResetError(f"the connection of {request.method} {request.rel_url.path} has ended")


async def before_head(request: web.BaseRequest, fault: Fault, released: asyncio.Event) -> Gone | None:
    """Do what the fault does before the head; `Gone` if nothing may follow."""
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.act is Act.SILENCE:
        await _hold(released, fault.seconds)
    if fault.act is Act.MALFORMED and request.transport is not None:
        request.transport.write(_NOT_HTTP)
    return _end(request) if fault.act in (Act.CLOSE, Act.MALFORMED) else None


async def deliver(
    request: web.BaseRequest, reply: Reply, fault: Fault | None, released: asyncio.Event
) -> web.StreamResponse:
    """Send the reply, in one piece unless a fault concerns the body."""
    if fault is None or fault.act not in (Act.CUT, Act.RESET, Act.STALL) or request.method == "HEAD":
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
    pause = len(reply.body) // 2 if fault.after is None else fault.after
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[:pause])
    if fault.act is not Act.STALL:
        return _end(request, reset=fault.act is Act.RESET)
    await _hold(released, fault.seconds)
    await response.write(reply.body[pause:])
    return response


async def _hold(released: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await released.wait()
    except TimeoutError:
        return


def _end(request: web.BaseRequest, *, reset: bool = False) -> Gone:
    """Close the connection: after what was written, or at once by a TCP reset (SO_LINGER of zero seconds)."""
    transport = request.transport
    if transport is not None and reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    elif transport is not None:
        transport.close()
    return Gone()
