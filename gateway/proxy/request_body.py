"""The caller's body, bounded in size and in silence, read no earlier than the request is allowed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from gateway.core.limits import Limit
from gateway.core.message import Chunked, Malformed
from gateway.core.refusal import Code, Reason, Refused

# A body up to this size is read before anything is taken for its request: a slow caller then holds no rate budget and
# no upstream connection, and the request leaves in one write.
AT_ONCE: Final = 65_536
# How long a body may be waited for before its rate counts, in seconds; no longer than one silence may last.
_GRACE: Final = 30.0
# Past this many bytes that have not been taken, the caller is no longer read.
HIGH_WATER: Final = 131_072
# Chunks read in one turn of the event loop: 0.1 ms of work, so that a caller of tiny ones slows nobody else down.
CHUNKS_A_TURN: Final = 64
# What the line of a chunk's size may have, extensions included; nothing in use comes near it.
MAX_CHUNK_LINE: Final = 4096


class Source(Protocol):
    """The connection that a body comes from."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def fed(self, surplus: bytes) -> None:
        """The body has taken what it was given later than at once; ``surplus`` came after its end."""


class Body:
    """The body of one request, as its connection feeds it. ``left`` are the bytes still to come of a stated length.

    ``done`` tells that all of it has arrived.
    """

    __slots__ = ("_abandoned", "_chunked", "_failed", "_loop", "_pieces", "_size", "_source", "_waiter", "done", "left")

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop, length: int | None) -> None:
        self._source = source
        self._loop = loop
        self._chunked = Chunked(most=CHUNKS_A_TURN, longest=MAX_CHUNK_LINE) if length is None else None
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._failed = False
        self._abandoned = False
        self.left = length or 0
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns what came after the body's end."""
        if self._chunked is not None:
            return self._feed_chunks(data)
        if len(data) < self.left:
            self.left -= len(data)
            self._add(data)
            return b""
        surplus = data[self.left :]
        self._add(data[: self.left] if surplus else data)
        self.left = 0
        self._finish()
        return surplus

    def _feed_chunks(self, data: bytes) -> bytes:
        chunked = self._chunked
        assert chunked is not None  # noqa: S101 - a stated length has none
        try:
            pieces = chunked.feed(data)
        except Malformed:
            self._failed = True
            self._finish()
            return b""
        if pieces:
            self._add(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if chunked.done:
            self._finish()
        elif chunked.held:
            self._source.pause_reading()
            self._loop.call_soon(self._go_on)
        return chunked.rest

    def _go_on(self) -> None:
        """Read the chunks that a turn of the event loop left."""
        if self.done:
            return
        surplus = self._feed_chunks(b"")
        assert self._chunked is not None  # noqa: S101 - only then is anything held
        if not self._chunked.held:
            if self._size <= HIGH_WATER:
                self._source.resume_reading()
            if surplus:
                self._source.fed(surplus)

    def _add(self, piece: bytes) -> None:
        if not piece or self._abandoned:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > HIGH_WATER:
            self._source.pause_reading()
        self._wake()

    def _finish(self) -> None:
        self.done = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def abandon(self) -> None:
        """Nobody reads it any more: drop what is held, and read no chunk that is still to come."""
        self._abandoned = True
        self.done = self.done or self._chunked is not None
        self._pieces.clear()
        self._size = 0

    def check(self) -> None:
        """Raise `Refused` where it is known already that the body is not framed as it must be."""
        if self._failed:
            raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, "The request's body is not framed as RFC 9112 asks.")

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give, or the end, or the fault, to tell."""
        return bool(self._pieces) or self.done

    async def wait(self) -> None:
        """Until it is `ready`."""
        while not self.ready:
            self._waiter = self._loop.create_future()
            await self._waiter

    def take(self) -> bytes:
        """All bytes at hand, ``b""`` at the end of the body. Raises `Refused` where it is not framed as it must be."""
        self.check()
        pieces, self._pieces = self._pieces, []
        if self._size > HIGH_WATER and not (self._chunked is not None and self._chunked.held):
            self._source.resume_reading()
        self._size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Upload:
    """What the forwarder reads of a body: ``limit`` bytes at most, in silences of ``idle_timeout`` seconds at most,
    and at ``rate`` bytes a second at least, once it has been waited for long enough.

    ``length`` is the stated one; ``ask`` asks the caller for the body, where it waits for that.
    ``received`` counts the bytes; a ``small`` body is to be read whole before anything is taken for its request. Raises
    `Refused`: ``payload_too_large``, before a byte is read where the stated length is over the limit;
    ``request_timeout``; ``invalid_request`` for broken framing.
    """

    __slots__ = ("_ask", "_body", "_idle_timeout", "_lane", "_limit", "_rate", "_waited", "received", "small")

    def __init__(
        self,
        body: Body,
        length: int | None,
        ask: Callable[[], None] | None,
        *,
        limit: int,
        rate: int,
        idle_timeout: float,
        lane: str,
    ) -> None:
        self._ask = ask
        self._body = body
        self._limit = limit
        self._rate = rate
        self._waited = 0.0
        self._idle_timeout = idle_timeout
        self._lane = lane
        self.small = length is not None and length <= AT_ONCE
        self.received = 0
        if length is not None and length > limit:
            raise self._too_large()

    async def whole(self) -> bytes:
        """All of it."""
        if self._body.done:
            return self._taken()
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """What arrives, as it arrives; the caller is asked for it where it waits for that."""
        if self._ask is not None and not self._body.done:
            self._ask()
        while True:
            if not self._body.ready:
                await self._wait()
            piece = self._taken()
            if not piece:
                return
            yield piece

    def check(self) -> None:
        """Raise `Refused` where it is known already that the body is not framed as it must be."""
        self._body.check()

    async def _wait(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._idle_timeout):
                await self._body.wait()
        except TimeoutError:
            raise Refused(
                Code.REQUEST_TIMEOUT,
                Reason.TIME,
                "The request's body stopped arriving.",
                note=f"the caller sent nothing for {self._idle_timeout:g} s (`upstream.idle_timeout`)",
                decided_by=f"upstream.idle_timeout: {self._idle_timeout:g}s",
                limit=Limit.BODY_SILENCE,
            ) from None
        self._waited += time.monotonic() - began
        grace = min(_GRACE, self._idle_timeout)
        if self._waited > grace and self.received < self._rate * self._waited:
            raise Refused(
                Code.REQUEST_TIMEOUT,
                Reason.TIME,
                "The request's body arrives too slowly.",
                note=f"after {grace:g} s it came at less than {self._rate} bytes a second (`limits.body_rate`)",
                fix="send it faster, or lower `limits.body_rate`",
                decided_by=f"limits.body_rate: {self._rate}",
                limit=Limit.BODY_RATE,
            )

    def _taken(self) -> bytes:
        piece = self._body.take()
        self.received += len(piece)
        if self.received > self._limit:
            raise self._too_large()
        return piece

    def _too_large(self) -> Refused:
        return Refused(
            Code.PAYLOAD_TOO_LARGE,
            Reason.BODY,
            f"The body is larger than {self._limit} bytes.",
            note=f"`limits.body.{self._lane}` allows {self._limit} bytes",
            fix=f"send a smaller body, or raise `limits.body.{self._lane}`",
            decided_by=f"limits.body.{self._lane}: {self._limit}",
            limit=Limit.BODY_SIZE,
        )
