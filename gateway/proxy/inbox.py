"""What a caller has sent and has not been served yet: requests in their order, and the body of the last of them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from gateway.core.field_rules import Rules
from gateway.core.refusal import Reason, Refused
from gateway.proxy.head_reader import HeadReader
from gateway.proxy.held_heads import SMALL
from gateway.proxy.request import MAX_HEAD, Request, head_too_long, refused_request
from gateway.proxy.request_body import Body

# Requests, and bytes of their heads, that wait behind the one that is served; past either, TCP holds the caller back.
MAX_WAITING: Final = 32


class Owner(Protocol):
    """The connection whose inbox it is."""

    serving: bool
    paused: bool

    def arrived(self) -> None:
        """The head of a request is complete; its body may follow."""

    def hold_heads(self, size: int) -> None:
        """So many bytes of heads have no answer yet, as `gateway.proxy.held_heads` counts them."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None:
        """What arrives is more than is kept."""


class _Nobody:
    """Whose a closed inbox is: one that kept its connection would keep it in memory, each the other's owner."""

    serving = False
    paused = False

    def arrived(self) -> None:
        """Nothing is read any more."""

    def hold_heads(self, size: int) -> None:
        """Nothing is held any more."""

    pause_reading = resume_reading = abort = arrived


_NOBODY: Final = _Nobody()


class Inbox:
    """``closed`` tells that nothing more is read; ``body`` is that of the last request while it is arriving."""

    __slots__ = ("_buffer", "_heads", "_held", "_large", "_loop", "_owner", "_queue", "body", "closed")

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, rules: Callable[[], Rules]) -> None:
        self._owner: Owner = owner
        self._loop = loop
        self._heads = HeadReader(loop, rules)
        self._queue: deque[Request] = deque()
        self._buffer = b""
        self.body: Body | None = None
        # Of heads without an answer: what the owner has been told; and whole ones over `SMALL`.
        self._held = 0
        self._large = 0
        self.closed = False

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def empty(self) -> bool:
        """Whether nothing has arrived that is still to be read or served, but the beginning of a head."""
        return not (self._queue or self._buffer or self.body)

    @property
    def head_begun(self) -> bool:
        """Whether a part of a head has arrived."""
        return self._heads.pending > 0

    def next(self) -> Request | None:
        """The request to serve now."""
        return self._queue.popleft() if self._queue else None

    def feed_repeated(self, data: bytes) -> bool:
        """Read these bytes, where nothing else waits and they are one request with the fields of the one before, or its
        beginning.
        """
        if self._queue or self._buffer or self.body is not None or self.closed:
            return False
        request = self._heads.repeated(data)
        if request is None:
            return False
        if request.length:
            body = request.body = Body(self, self._loop, request.length)
            body.feed(data[request.size :])
            self.body = None if body.done else body
        self._queue.append(request)
        return True

    def feed(self, data: bytes) -> None:
        """Read what has arrived."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        before = len(self._queue)
        while data and not self.closed:
            if self.body is not None:
                data = self._feed_body(self.body, data)
            elif len(self._queue) >= MAX_WAITING or (self._queue and self._waiting_bytes() > MAX_HEAD):
                self._buffer = data
                self._owner.pause_reading()
                break
            else:
                data = self._read(data, before)
        self._count()

    def served(self, request: Request) -> None:
        """A request has been answered: drop what is left of its body, and read what was held back behind it."""
        if request.size > SMALL:
            self._large -= request.size
        if request.body is not None and not request.body.done:
            request.body.abandon()
        if self._buffer:
            self.feed(b"")
        if self._owner.paused and not self._buffer:
            self._owner.resume_reading()
        if self._held:
            self._count()

    def refuse_only(self, refused: Refused) -> bool:
        """Refuse the request that waits, where it is the only one, and no head has begun behind it."""
        if len(self._queue) != 1 or self._heads.pending or self._buffer:
            return False
        self._queue[0].refused = self._queue[0].refused or refused
        return True

    def close(self) -> None:
        """Read nothing more."""
        self.closed = True
        if self.body is not None:
            self.body.abandon()
        self._heads.drop()
        self._buffer, self._large = b"", 0
        self._count()
        self._owner = _NOBODY

    def pause_reading(self) -> None:
        self._owner.pause_reading()

    def resume_reading(self) -> None:
        self._owner.resume_reading()

    def fed(self, surplus: bytes) -> None:
        """The chunks of a body have been read; ``surplus`` came after its end."""
        self.body = None
        self.feed(surplus)

    def _count(self) -> None:
        """Tell the owner what heads without an answer there are, if that has changed."""
        held = self._heads.pending + self._large + len(self._buffer)
        if held != self._held:
            self._held = held
            self._owner.hold_heads(held)

    def _waiting_bytes(self) -> int:
        return sum(request.size for request in self._queue)

    def _feed_body(self, body: Body, data: bytes) -> bytes:
        surplus = body.feed(data)
        if body.done:
            self.body = None
        return surplus

    def _read(self, data: bytes, before: int) -> bytes:
        """Read up to the end of a head; returns what follows it. ``before`` is what waited when the bytes arrived:
        requests that came in one segment with bytes that are none cannot be trusted.
        """
        try:
            request, rest = self._heads.read(data)
        except Refused as refused:
            while len(self._queue) > before:
                self._queue.pop()
            self._give_up(refused)
            return b""
        if request is not None:
            self._begin(request)
        elif self._heads.pending > MAX_HEAD:
            if self._owner.serving or self._queue:
                self._owner.abort()
            else:
                self._give_up(head_too_long())
        return rest

    def _begin(self, request: Request) -> None:
        """A head is whole."""
        if request.refused is not None and request.refused.reason is Reason.FRAMING:
            self.closed = True  # What follows cannot be read in one way.
        elif request.length != 0:
            request.body = self.body = Body(self, self._loop, request.length)
        if request.length != 0 or b"upgrade" in request.read:
            self._heads.renew()
        if request.size > SMALL:
            self._large += request.size
        self._queue.append(request)
        self._owner.arrived()

    def _give_up(self, refused: Refused) -> None:
        """What arrives is no request: it is answered in its turn, and nothing after it is read."""
        self.closed = True
        self._heads.drop()
        self._queue.append(refused_request(refused))
        self._owner.arrived()
