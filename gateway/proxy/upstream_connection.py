"""One connection to the upstream: bytes in, bytes out, one exchange at a time."""

import asyncio
import contextlib
import socket
from collections import deque
from typing import Final, cast

from gateway.core.field_rules import Rules, answer_rules
from gateway.core.message import MAX_HEAD, Chunked, Framing, Head, Malformed, check_beginning, read_head
from gateway.core.network_faults import NETWORK_FAULTS, NetworkFault

# Past this many bytes that the caller has not taken yet, the upstream is no longer read: memory stays flat while TCP
# slows the upstream down.
HIGH_WATER: Final = 131_072
_FOREVER: Final = float("inf")
_MAX_INTERIM: Final = 16


class Lost(Exception):
    """The exchange failed. ``note`` says in words what happened; ``answered`` tells that a byte of the answer came,
    ``connected`` that there was a connection, ``in_body`` that the request's body was not wholly sent.
    """

    def __init__(
        self,
        fault: NetworkFault,
        note: str = "",
        *,
        answered: bool = False,
        connected: bool = True,
        in_body: bool = False,
    ) -> None:
        super().__init__(note or f"the upstream: {NETWORK_FAULTS[fault].why}")
        self.fault: Final = fault
        self.note: Final = str(self)
        self.answered: Final = answered
        self.connected: Final = connected
        self.in_body: Final = in_body


class UpstreamConnection(asyncio.Protocol):
    """Sends a request, reads its answer, and may then be used again while ``reusable`` says so.

    ``deadline`` is the loop time at which the owner of the connection calls `expire`. ``channel`` is the socket that
    the connection was made on; ``rules`` say which fields of answers cross.
    """

    __slots__ = (
        "_answering",
        "_buffer",
        "_buffered",
        "_channel",
        "_chunked",
        "_done",
        "_framing",
        "_head",
        "_interim",
        "_keep_alive",
        "_left",
        "_loop",
        "_lost",
        "_method",
        "_paused_reading",
        "_pieces",
        "_reader",
        "_received",
        "_rules",
        "_sent",
        "_writable",
        "deadline",
        "idle_since",
        "idle_timeout",
        "transport",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, channel: socket.socket | None = None, rules: Rules | None = None
    ) -> None:
        self._loop = loop
        self._rules = rules or answer_rules()
        self._channel = channel
        self.transport: asyncio.Transport | None = None
        self.deadline = _FOREVER
        self.idle_since = 0.0
        self.idle_timeout = 0.0
        self._method = ""
        self._answering = False
        self._sent = False
        self._received = False
        self._buffer = b""
        self._interim = 0
        self._head: asyncio.Future[Head] | None = None
        self._framing = Framing.NONE
        self._left = 0
        self._chunked: Chunked | None = None
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._done = True
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
        return self.alive and self._done and self._sent and self._keep_alive and not self._pieces

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived."""
        return self._done

    @property
    def disturbed(self) -> bool:
        """Whether something has arrived on an idle connection, its end included, that the event loop has not read yet.

        One system call, for requests that must not be sent twice.
        """
        if self._channel is None:
            return False
        with contextlib.suppress(BlockingIOError):
            with contextlib.suppress(ConnectionError):
                self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return True
        return False

    def begin(self, method: str, head: bytes) -> "asyncio.Future[Head]":
        """Send a request's head, with its body where that is at hand; the future gives the answer's head."""
        self._method = method
        self._answering, self._done, self._sent, self._received = True, False, False, False
        self._interim, self._chunked = 0, None
        self._head = self._loop.create_future()
        if self._lost is not None:
            self._fail(self._lost)
        elif self.transport is not None:
            self.transport.write(head)
        return self._head

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
        while not self._pieces:
            if self._done:
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
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        if self._paused_reading and self.transport is not None and not self.transport.is_closing():
            self._paused_reading = False
            self.deadline = self._loop.time() + self.idle_timeout
            self.transport.resume_reading()
        return data

    def abort(self) -> None:
        """Drop the connection without waiting for the peer."""
        if self.transport is not None:
            self.transport.abort()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = _FOREVER
        phase = "between two bytes of its answer" if self._received else "to begin its answer"
        fault = NetworkFault.HTTP_RESPONSE_TIMEOUT if self._sent else NetworkFault.CONNECTION_WRITE_TIMEOUT
        note = f"the upstream took too long {phase}"
        self._fail(Lost(fault, note, answered=self._received, in_body=not self._sent))
        self.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._answering or self._done:
            # Bytes that nobody asked for would be read as the next request's answer.
            self._keep_alive = False
            self.abort()
            return
        self._received = True
        try:
            # The deadline of the answer's beginning stands until its head is whole: dribbled bytes and interim answers
            # do not put it off.
            if self._head is not None:
                data = self._read_head(self._buffer + data if self._buffer else data)
            if self._head is None:
                if not self._done:
                    self.deadline = self._loop.time() + self.idle_timeout
                self._read_body(data)
        except Malformed as problem:
            note = f"the upstream's answer is malformed: {problem}"
            self._fail(Lost(NetworkFault.HTTP_PROTOCOL_ERROR, note, answered=True))
            self.abort()

    def eof_received(self) -> None:
        """The upstream has said that nothing follows. Over TLS that is its close_notify alone, as uvloop has it: a
        connection that ends without one was cut (RFC 9112 section 9.8), and so was one that this side gave up.
        """
        if self._answering and not self._done and self._head is None and self._framing is Framing.CLOSE:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        note = "the upstream closed the connection"
        in_body = self._answering and not self._sent
        self._fail(Lost(NetworkFault.CONNECTION_TERMINATED, note, answered=self._received, in_body=in_body))
        self.transport = None

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # How an answer is read.

    def _read_head(self, data: bytes) -> bytes:
        """Read as many heads as there are up to the final one; returns what follows it."""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            if end > MAX_HEAD:
                break
            head = read_head(data[:end], self._method, self._rules)
            data = data[end + 4 :]
            if head.status >= 200:
                self._buffer = b""
                self._begin_body(head)
                return data
            self._interim += 1
            if head.status == 101 or self._interim > _MAX_INTERIM:
                raise Malformed("an interim answer that was not asked for")
        if len(data) > MAX_HEAD:
            raise Malformed(f"the head is longer than {MAX_HEAD} bytes")
        check_beginning(data)
        self._buffer = data
        return b""

    def _begin_body(self, head: Head) -> None:
        self._framing = head.framing
        self._keep_alive = head.keep_alive
        self._left = (head.length or 0) if head.framing is Framing.LENGTH else 0
        self._chunked = Chunked() if head.framing is Framing.CHUNKED else None
        if head.framing is Framing.NONE or (head.framing is Framing.LENGTH and not self._left):
            self._finish()
        answer, self._head = self._head, None
        if answer is not None and not answer.done():
            answer.set_result(head)

    def _read_body(self, data: bytes) -> None:
        if not data:
            return
        surplus = False
        if self._chunked is not None and not self._done:
            for piece in self._chunked.feed(data):
                self._add(piece)
            surplus = bool(self._chunked.rest)
            if self._chunked.done:
                self._finish()
        elif self._framing is Framing.CLOSE:
            self._add(data)
        else:
            surplus = len(data) > self._left
            if self._left:
                self._add(data[: self._left] if surplus else data)
                self._left -= min(self._left, len(data))
                if not self._left:
                    self._finish()
        if surplus:
            self._keep_alive = False
        if self._buffered > HIGH_WATER and not self._done and not self._paused_reading and self.transport is not None:
            self._paused_reading = True
            self.deadline = _FOREVER
            self.transport.pause_reading()

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._buffered += len(piece)
        self._wake()

    def _finish(self) -> None:
        self._done = True
        self.deadline = _FOREVER
        self._wake()

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
