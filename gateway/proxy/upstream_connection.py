"""One connection to the upstream: bytes in, bytes out, one exchange at a time."""

import asyncio
import socket
from typing import Final, cast

from gateway.core.field_rules import Rules, answer_rules
from gateway.core.limits import Limit
from gateway.core.message import MAX_HEAD, Head, Malformed, check_beginning, read_head
from gateway.core.network_faults import NetworkFault
from gateway.net.sockets import has_arrived
from gateway.proxy.answer_body import AnswerBody
from gateway.proxy.lost import Lost

# Past this many bytes that the caller has not taken yet, the upstream is no longer read: memory stays flat while TCP
# slows the upstream down.
HIGH_WATER: Final = 131_072
_FOREVER: Final = float("inf")
_MAX_INTERIM: Final = 16


class UpstreamConnection(asyncio.Protocol):
    """Sends a request, reads its answer, and may then be used again while ``reusable`` says so.

    The owner calls `expire` at the loop time ``deadline``, and at ``ends``, by which an answer must be whole.
    ``channel`` is the socket that the connection was made on; ``rules`` say which fields of answers cross.
    """

    __slots__ = (
        "_body", "_buffer", "_channel", "_head", "_interim", "_keep_alive", "_loop", "_lost", "_method",
        "_paused_reading", "_reader", "_received", "_rules", "_sent", "_writable", "deadline", "ends",
        "idle_since", "idle_timeout", "transport",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, channel: socket.socket | None = None, rules: Rules | None = None
    ) -> None:
        self._loop = loop
        self._rules = rules or answer_rules()
        self._channel = channel
        self.transport: asyncio.Transport | None = None
        self.deadline = _FOREVER
        self.ends = _FOREVER
        self.idle_since = 0.0
        self.idle_timeout = 0.0
        self._method = ""
        self._sent = True
        self._received = False
        self._buffer = b""
        self._interim = 0
        # Of the exchange under way: who waits for the head of its answer, and the body once that has come.
        self._head: asyncio.Future[Head] | None = None
        self._body: AnswerBody | None = None
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
        """Whether the exchange ended so that nothing of it can be taken for a part of the next one."""
        body = self._body
        return body is not None and body.done and not body.held and self._sent and self._keep_alive and self.alive

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived."""
        return self._body is not None and self._body.done

    @property
    def disturbed(self) -> bool:
        """Whether something has arrived on an idle connection, its end included, that the event loop has not read yet.

        One system call, for requests that must not be sent twice.
        """
        return self._channel is not None and has_arrived(self._channel)

    def begin(self, method: str, head: bytes) -> "asyncio.Future[Head]":
        """Send a request's head, with its body where that is at hand; the future gives the answer's head."""
        self._method = method
        self._sent = self._received = False
        self._interim = 0
        self._body = None
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
        if self._paused_reading and self.transport is not None and not self.transport.is_closing():
            self._paused_reading = False
            self.deadline = self._loop.time() + self.idle_timeout
            self.transport.resume_reading()
        return b"" if self._body is None else self._body.take()

    def abort(self) -> None:
        """Drop the connection without waiting for the peer."""
        if self.transport is not None:
            self.transport.abort()

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
                # The deadline of the answer's beginning stands until its head is whole: dribbled bytes and interim
                # answers do not put it off.
                self._received = True
                body, data = self._read_head(self._buffer + data if self._buffer else data)
                if body is None:
                    return
            elif body is None or body.done:
                # Bytes that nobody asked for would be read as the next request's answer.
                self._keep_alive = False
                self.abort()
                return
            if data:
                body.feed(data)
        except Malformed as problem:
            note = f"the upstream's answer is malformed: {problem}"
            self._fail(Lost(NetworkFault.HTTP_PROTOCOL_ERROR, note, answered=True))
            self.abort()
            return
        if body.surplus:
            self._keep_alive = False
        if body.done:
            self.deadline = _FOREVER
        elif body.held <= HIGH_WATER:
            self.deadline = self._loop.time() + self.idle_timeout
        elif not self._paused_reading and self.transport is not None:
            self._paused_reading = True
            self.deadline = _FOREVER
            self.transport.pause_reading()
        if self._reader is not None:
            self._wake()

    def eof_received(self) -> None:
        """The upstream has said that nothing follows. Over TLS that is its close_notify alone, as uvloop has it: a
        connection that ends without one was cut (RFC 9112 section 9.8), and so was one that this side gave up.
        """
        if self._body is not None and self._body.until_close and self._lost is None:
            self._body.done = True
            self.deadline = _FOREVER
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        note = "the upstream closed the connection"
        self._fail(Lost(NetworkFault.CONNECTION_TERMINATED, note, answered=self._received, in_body=not self._sent))
        self.transport = None

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # How an answer is read.

    def _read_head(self, data: bytes) -> tuple[AnswerBody | None, bytes]:
        """Read as many heads as there are up to the final one; returns its body and what follows the head."""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            if end > MAX_HEAD:
                break
            head = read_head(data[:end], self._method, self._rules)
            data = data[end + 4 :]
            if head.status >= 200:
                self._buffer = b""
                self._keep_alive = head.keep_alive
                body = self._body = AnswerBody(head)
                answer, self._head = self._head, None
                if answer is not None and not answer.done():
                    answer.set_result(head)
                return body, data
            self._interim += 1
            if head.status == 101 or self._interim > _MAX_INTERIM:
                raise Malformed("an interim answer that was not asked for")
        if len(data) > MAX_HEAD:
            raise Malformed(f"the head is longer than {MAX_HEAD} bytes")
        check_beginning(data)
        self._buffer = data
        return None, b""

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
