"""One caller's connection: heads and bodies as they arrive, and the requests that they are, served in order."""

import asyncio
from typing import Final, Protocol, cast

from gateway.callers.peers import STRANGER, Peer, address_of, peer_of
from gateway.core.field_rules import Rules
from gateway.core.refusal import Refused
from gateway.proxy.inbox import Inbox
from gateway.proxy.reply import Reply
from gateway.proxy.request import Request
from gateway.proxy.turns import Turns

# How long a caller that was refused in the middle of its body may go on sending, so that it reads the answer instead
# of a reset (RFC 9112 section 9.6).
LINGER: Final = 2.0


class Handler(Protocol):
    """`serve` raises CancelledError alone, where the caller leaves; `last_words` answer where there is no request."""

    def rules(self) -> Rules: ...

    async def serve(self, request: Request, reply: Reply) -> None: ...

    def last_words(self, refused: Refused) -> bytes: ...


class Owner(Protocol):
    """What accepts connections, and counts them."""

    turns: Turns

    @property
    def handler(self) -> Handler: ...

    def admit(self, connection: "CallerConnection", address: str) -> Refused | None: ...

    def left(self, connection: "CallerConnection", address: str) -> None: ...

    def hold_heads(self, connection: "CallerConnection", address: str, size: int) -> None: ...

    def report_fault(self, failure: Exception) -> None: ...


class CallerConnection(asyncio.Protocol):
    """``peer`` is who is at the other end, called ``peer_name`` in the log. ``head_since`` is the loop time at which a
    head began to arrive, None while there is none; ``idle_since`` that of the last answer. ``serving`` tells that a
    request is being served, ``retiring`` that its next answer is the last.
    """

    __slots__ = (
        "_address", "_admitted", "_inbox", "_loop", "_owner", "_task", "_waiter", "_writable", "head_since",
        "idle_since", "paused", "peer", "peer_name", "retiring", "serving", "transport",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner, self._loop = owner, loop
        self._address = ""
        self._admitted = self.paused = self.retiring = self.serving = False
        self._inbox = Inbox(self, loop, owner.handler.rules)
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.peer: Peer = STRANGER
        self.peer_name = ""
        self.head_since: float | None = None
        self.idle_since = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._address = address_of(transport)
        refused = self._owner.admit(self, self._address)
        if refused is not None:
            self.say_last(refused)
            self.transport.close()
            return
        self._admitted = True
        self.peer = peer_of(transport)
        self.peer_name = self.peer.name
        self.head_since = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.transport = None
        if self._admitted:
            self._owner.left(self, self._address)
        self._inbox.close()
        task, self._task = self._task, None  # A task keeps what cancelled it, and so the frames that keep us.
        if task is not None:
            task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        inbox, waiter = self._inbox, self._waiter
        if waiter is not None and inbox.feed_repeated(data):
            if not waiter.done():
                waiter.set_result(None)
        elif self._admitted and not inbox.closed:
            inbox.feed(data)
            if self.head_since is None and self.waits_for_head:
                self.head_since = self._loop.time()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # How requests are served.

    def arrived(self) -> None:
        """The head of a request is complete; its body may follow. Serve it, or let it wait for its turn."""
        self.head_since = None
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self._task is None:
            self._task = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        """Serve one request after another until the connection ends."""
        handler, inbox, turns = self._owner.handler, self._inbox, self._owner.turns
        while True:
            while (request := inbox.next()) is None:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            reply = Reply(self, request)
            self.serving = True
            try:
                if (turn := turns.take(self._address)) is not None:
                    await turn
                await handler.serve(request, reply)
            except Exception as failure:  # noqa: BLE001 - the handler answers its own faults; this is one of its answer
                self._owner.report_fault(failure)
                self.abort()
                return
            finally:
                self.serving = False
            if reply.closes:
                await self._end(request)
                return
            self.idle_since = self._loop.time()
            inbox.served(request)
            if inbox.head_begun and not len(inbox):
                self.head_since = self.idle_since
            del request, reply  # An idle connection would keep up to 64 KiB of a head, and more of what was made of it.

    async def _end(self, request: Request) -> None:
        """Close after the last answer. At once would reset a connection whose caller is still sending, and take the
        answer with it (RFC 9112 section 9.6).
        """
        unread = self._inbox.closed or (request.body is not None and not request.body.done)
        self._inbox.close()
        if self.transport is None:
            return
        if unread:
            self._say_no_more()
            await asyncio.sleep(LINGER)  # Cut short where the caller leaves.
        self.close()

    def _say_no_more(self) -> None:
        """Nothing more is said, and what still comes is dropped."""
        self.head_since = None
        self.resume_reading()
        if self.transport is not None and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    # What the listener, the body and the reply call.

    @property
    def waits_for_head(self) -> bool:
        """Whether the rest of a head is all that is to come."""
        return self._inbox.head_begun and not (self.serving or len(self._inbox))

    def hold_heads(self, size: int) -> None:
        """So many bytes of heads have no answer yet."""
        self._owner.hold_heads(self, self._address, size)

    def drop_heads(self, refused: Refused) -> None:
        """Refuse what is held here: there is too much of it in all."""
        if self.waits_for_head:
            self.say_last(refused)
            self._inbox.close()
            self.close()
        elif self.serving or not self._inbox.refuse_only(refused):
            self._owner.handler.last_words(refused)  # For the log and the count: an answer may have begun.
            self.abort()

    @property
    def idle(self) -> bool:
        """Whether nothing has arrived since the last answer, and nothing of what arrived before is still to be done."""
        return not self.serving and self._inbox.empty and self.head_since is None

    @property
    def skipping(self) -> bool:
        """Whether the rest of a body is to come whose request has been answered."""
        return self._inbox.body is not None and not self.serving and not len(self._inbox)

    @property
    def congested(self) -> bool:
        """Whether the caller takes its answer more slowly than it comes."""
        return self._writable is not None

    async def drained(self) -> None:
        """Until the caller has taken enough of its answer."""
        if self._writable is not None:
            await self._writable

    def pause_reading(self) -> None:
        if not self.paused and self.transport is not None and not self.transport.is_closing():
            self.paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.paused and self.transport is not None and not self.transport.is_closing():
            self.paused = False
            self.transport.resume_reading()

    def ask_for_body(self) -> None:
        """Answer an expectation of 100 Continue."""
        if self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def say_last(self, refused: Refused) -> None:
        """Answer, at the end of a connection on which there is no request."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._owner.handler.last_words(refused))

    def cut(self, why: str) -> None:
        """End the request in hand: one without an answer gets one, an answer that has begun is cut."""
        if self._task is not None and self.serving:
            self._task.cancel(why)

    def abort(self) -> None:
        """Drop the connection without waiting for the caller."""
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Close once what was written has left."""
        if self.transport is not None:
            self.transport.close()
