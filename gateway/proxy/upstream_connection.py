"""One connection to the upstream: bytes in, bytes out, one exchange at a time."""

import asyncio
import socket
from typing import Final, cast

from gateway.core.field_rules import Rules, answer_rules
from gateway.core.limits import Limit
from gateway.core.message import Framing, Head, Malformed
from gateway.core.network_faults import NetworkFault
from gateway.net.sockets import has_arrived
from gateway.proxy.answer_body import AnswerBody, WholeBody
from gateway.proxy.answer_head import AnswerHead
from gateway.proxy.lost import Lost

# Past this many bytes that the caller has not taken yet, the upstream is no longer read: memory stays flat while TCP
# slows the upstream down.
HIGH_WATER: Final = 131_072
_FOREVER: Final = float("inf")
_LENGTH: Final = Framing.LENGTH


class UpstreamConnection(asyncio.Protocol):
    """Sends a request, reads its answer, and may then be used again while ``reusable`` says so.

    The owner calls `expire` at the loop time ``deadline``, and at ``ends``, by which an answer must be whole.
    ``channel`` is the socket that the connection was made on; ``rules`` say which fields of answers cross.
    """

    __slots__ = (
        "_beginning", "_body", "_channel", "_ended", "_head", "_keep_alive", "_loop", "_lost", "_paused_reading",
        "_reader", "_received", "_sent", "_writable", "deadline", "ends", "idle_since", "idle_timeout", "transport",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, channel: socket.socket | None = None, rules: Rules | None = None
    ) -> None:
        self._loop = loop
        self._beginning = AnswerHead(rules or answer_rules())
        self._channel = channel
        self.transport: asyncio.Transport | None = None
        self.deadline = self.ends = _FOREVER
        self.idle_since = self.idle_timeout = 0.0
        self._sent = True
        self._received = self._ended = False
        # Of the exchange under way: who waits for the head of its answer, and the body once that has come.
        self._head: asyncio.Future[Head] | None = None
        self._body: AnswerBody | WholeBody | None = None
        self._keep_alive = True
        self._lost: Lost | None = None
        self._reader: asyncio.Future[None] | None = None
        self._paused_reading = False
        self._writable: asyncio.Future[None] | None = None

    # What the owner calls.

    @property
    def alive(self) -> bool:
        return self._lost is None and self.transport is not None and not self.transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the exchange ended so that nothing of it can be taken for a part of the next one, while `alive`."""
        body = self._body
        return body is not None and body.done and not body.held and self._sent and self._keep_alive

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived."""
        return self._body is not None and self._body.done

    @property
    def disturbed(self) -> bool:
        """Whether something has arrived on an idle connection, its end included, that the loop has not read yet."""
        return self._channel is not None and has_arrived(self._channel)

    def begin(self, method: str, head: bytes, *, whole: bool = True) -> "asyncio.Future[Head]":
        """Send a request's head, with its body where it is ``whole``; the future gives the answer's head."""
        self._beginning.expect(method)
        self._sent, self._received, self._body = whole, False, None
        answer = self._head = self._loop.create_future()
        if self._lost is not None:
            self._fail(self._lost)
        elif self.transport is not None:
            self.transport.write(head)
        return answer

    async def write(self, data: bytes) -> None:
        """Send a part of the body; returns when the socket takes more. Raises `Lost`."""
        if self._lost is not None:
            raise self._lost
        if self.transport is not None:
            self.transport.write(data)
        if self._writable is not None:
            await self._writable
            if self._lost is not None:
                raise self._lost

    def sent(self) -> None:
        """The request is complete."""
        self._sent = True

    async def read(self) -> bytes:
        """The next bytes of the body, ``b""`` at its end. Raises `Lost` where the answer is cut short."""
        while self._body is None or not self._body.held:
            if self.complete:
                return b""
            if self._lost is not None:
                raise self._lost
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take()

    def take(self) -> bytes:
        """All bytes of the body that are at hand."""
        data = b"" if self._body is None else self._body.take()
        if self._paused_reading and (self._body is None or self._body.behind <= HIGH_WATER):
            self._resume_reading()
        return data

    def abort(self) -> None:
        """Drop the connection without waiting for the peer, and what is still to be read."""
        if isinstance(self._body, AnswerBody):
            self._body.behind = 0
        if self.transport is not None:
            self.transport.abort()
        elif self._ended:
            self.connection_lost(None)

    def expire(self) -> None:
        """The deadline has passed."""
        fault = NetworkFault.HTTP_RESPONSE_TIMEOUT if self._sent else NetworkFault.CONNECTION_WRITE_TIMEOUT
        phase = "between two bytes of its answer" if self._received else "to begin its answer"
        note, limit = f"the upstream took too long {phase}", None
        if self.ends <= self._loop.time():
            note, limit = "the answer took longer than `upstream.answer_timeout`", Limit.ANSWER_TIMEOUT
        self.deadline = self.ends = _FOREVER
        self._fail(Lost(fault, note, answered=self._received, in_body=not self._sent, limit=limit))
        self.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        body = self._body
        try:
            if self._head is not None:
                # Until the head is whole, its deadline stands: no dribbled byte or interim answer puts it off.
                self._received = True
                data = self._beginning.feed(data)
                head = self._beginning.head
                if head is None:
                    return
                self._keep_alive = head.keep_alive
                answer, self._head = self._head, None
                if not answer.done():
                    answer.set_result(head)
                if head.framing is _LENGTH and len(data) == head.length:
                    self._body, self.deadline = WholeBody(data), _FOREVER
                    return
                body = self._body = AnswerBody(head)
            elif not isinstance(body, AnswerBody) or body.done:
                # Bytes that nobody asked for would be read as the next request's answer.
                self._keep_alive = False
                self.abort()
                return
            if not data:
                body.read_on()
            elif body.feed(data):
                self._loop.call_soon(self._read_on)
        except Malformed as problem:
            note = f"the upstream's answer is malformed: {problem}"
            self._fail(Lost(NetworkFault.HTTP_PROTOCOL_ERROR, note, answered=True))
            self.abort()
            return
        self._pace(body)
        self._wake()

    def _pace(self, body: AnswerBody) -> None:
        if body.surplus:
            self._keep_alive = False
        if body.done:
            self.deadline = _FOREVER
        elif body.held + body.behind <= HIGH_WATER:
            self.deadline = self._loop.time() + self.idle_timeout
            if self._paused_reading:
                self._resume_reading()
        elif not self._paused_reading and self.transport is not None:
            self._paused_reading = True
            self.deadline = _FOREVER
            self.transport.pause_reading()

    def _read_on(self) -> None:
        """Read the chunks that a turn of the event loop left; the loss of the connection comes behind the last."""
        body = self._body
        if body is not None and body.behind and self._lost is None:
            self.data_received(b"")
            if body.behind:
                self._loop.call_soon(self._read_on)
            elif self._ended:
                self.connection_lost(None)

    def eof_received(self) -> None:
        """The upstream has said that nothing follows. Over TLS that is its close_notify alone, as uvloop has it: a
        connection that ends without one was cut (RFC 9112 section 9.8), and so was one that this side gave up.
        """
        if isinstance(self._body, AnswerBody) and self._body.until_close and self._lost is None:
            self._body.done = True
            self.deadline = _FOREVER
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.transport = None
        if self._body is not None and self._body.behind and self._lost is None:
            self._ended = True  # taken as such behind the last chunk that has come
            return
        note = "the upstream closed the connection"
        self._fail(Lost(NetworkFault.CONNECTION_TERMINATED, note, answered=self._received, in_body=not self._sent))

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self._paused_reading = False
            self.deadline = self._loop.time() + self.idle_timeout
            self.transport.resume_reading()

    def _fail(self, lost: Lost) -> None:
        if self._lost is None:
            self._lost = lost
        if self._head is not None and not self._head.done():
            self._head.set_exception(self._lost)
            self._head.exception()  # marks it as seen: the loop would report it if the waiting task is being cancelled
        self._wake()
        self.resume_writing()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
