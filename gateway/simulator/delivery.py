"""Answers on the wire, in good order or as a fault will have them."""

import asyncio
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.simulator.faults import Act, Fault

_BLOCK: Final = 65_536
_NO_FAULT: Final = Fault()
_NOT_HTTP: Final = "HTTP/1.1 OK 200 \r\nthis is no header field\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is to be answered: status, header fields and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Gone(web.Response):
    """The answer of a connection that is no more; aiohttp takes the error for a client that has left."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        raise ConnectionResetError(f"the connection of {request.method} {request.rel_url.path} has ended")


async def before_head(request: web.BaseRequest, fault: Fault, released: asyncio.Event) -> Gone | None:
    """Act out what happens before the head; `Gone` where nothing may follow."""
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.act is Act.SILENCE:
        await _hold(released, fault.seconds)
    if fault.act is Act.CLOSE:
        return _end(request)
    if fault.act is Act.MALFORMED:
        if request.transport is not None:
            request.transport.write((_NOT_HTTP if fault.raw is None else fault.raw).encode("latin-1"))
        return _end(request)
    return None


async def deliver(
    request: web.BaseRequest, reply: Reply, fault: Fault | None, released: asyncio.Event
) -> web.StreamResponse:
    """Send the reply. Without a fault that concerns the body it goes out in one piece."""
    fault = fault or _NO_FAULT
    in_body = fault.act in (Act.CUT, Act.RESET, Act.STALL, Act.TRICKLE)
    if not (in_body or fault.chunked or fault.body_bytes is not None) or request.method == "HEAD":
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
    length = len(reply.body) if fault.body_bytes is None else fault.body_bytes
    blocks = _blocks(reply.body) if fault.body_bytes is None else filler(fault.body_bytes)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if fault.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = length
    await response.prepare(request)
    if fault.act is Act.TRICKLE:
        await _trickle(response, blocks, fault)
        return response
    pause = (length // 2 if fault.after is None else min(fault.after, length)) if in_body else length
    rest = await _write(response, blocks, pause)
    if fault.act in (Act.CUT, Act.RESET):
        return _end(request, reset=fault.act is Act.RESET)
    if fault.act is Act.STALL:
        await _hold(released, fault.seconds)
    await _write(response, rest, length)
    return response


def filler(size: int) -> Iterator[bytes]:
    """A JSON text of exactly so many bytes, in blocks: a string, or a digit where there is no room for the quotes."""
    if size < 2:
        yield b"1" * size
        return
    yield b'"'
    for start in range(0, size - 2, _BLOCK):
        yield b"a" * min(_BLOCK, size - 2 - start)
    yield b'"'


def _blocks(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _BLOCK] for start in range(0, len(body), _BLOCK))


async def _write(response: web.StreamResponse, blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Write so many bytes and give what is left of the blocks."""
    for block in blocks:
        await response.write(block[:size])
        if len(block) > size:
            return _joined(block[size:], blocks)
        size -= len(block)
    return iter(())


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


async def _trickle(response: web.StreamResponse, blocks: Iterator[bytes], fault: Fault) -> None:
    pause = 0.1 if fault.seconds is None else fault.seconds
    for block in blocks:
        for start in range(0, len(block), fault.piece):
            await response.write(block[start : start + fault.piece])
            await asyncio.sleep(pause)


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
