"""The connections to one upstream: how many there may be, which are idle, and when those in use have taken too long."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.core.limits import Limit
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after
from gateway.proxy.upstream_connection import UpstreamConnection

# Shorter than what common servers and load balancers grant (nginx 75 s, AWS ALB 60 s, Node.js 5 s is the exception),
# so that it is nearly always this side that closes an idle connection and no request meets a closing one.
_KEEP_IDLE: Final = 15.0
# How long a request waits for one of `max_connections`.
_ACQUIRE_TIMEOUT: Final = 2.0
_SWEEP: Final = 0.1
_FOREVER: Final = float("inf")


class Pool:
    """Room for ``size`` requests at a time, each on a connection of its own. Connections are kept, last used first.

    A caller holds at most half of it, unless there can be no other: answers that one caller takes slowly leave room for
    others. Requests that wait get room in their order, those of a caller that holds its share later. ``in_use`` is
    called every now and then while there are exchanges.
    """

    def __init__(self, size: int, in_use: Callable[[], None]) -> None:
        self._size: Final = size
        self._in_use: Final = in_use
        self._share = size
        self._free = size
        self._held: Final[dict[str, int]] = {}
        self._waiting: Final[deque[tuple[str, asyncio.Future[None]]]] = deque()
        self._idle: Final[list[UpstreamConnection]] = []
        self._active: Final[set[UpstreamConnection]] = set()
        self._loop: Final = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def expect(self, callers: int) -> None:
        """How many callers there can be."""
        self._share = self._size if callers < 2 else max(1, self._size // 2)

    def enter(self, caller: str) -> bool:
        """Take room for a request of this caller, if there is some and nobody waits for it."""
        held = self._held.get(caller, 0)
        if self._free and held < self._share and not self._waiting:
            self._free -= 1
            self._held[caller] = held + 1
            return True
        return False

    async def wait(self, caller: str) -> None:
        """Take room for a request in turn. Raises `Refused` ``overloaded`` where there is none in time."""
        turn: asyncio.Future[None] = self._loop.create_future()
        entry = caller, turn
        self._waiting.append(entry)
        self._serve()
        try:
            if not turn.done():
                await asyncio.wait((turn,), timeout=_ACQUIRE_TIMEOUT)
        except BaseException:
            if turn.done():
                self.leave(caller)
            raise
        finally:
            if not turn.done():
                self._waiting.remove(entry)
        if not turn.done():
            raise _overloaded(self._size, self._share < self._size and self._held.get(caller, 0) >= self._share)

    def leave(self, caller: str) -> None:
        """Give room back."""
        self._free += 1
        held = self._held[caller] - 1
        if held:
            self._held[caller] = held
        else:
            del self._held[caller]
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        """Give room to those who wait and may have it."""
        for entry in [*self._waiting]:
            if not self._free:
                return
            caller, turn = entry
            held = self._held.get(caller, 0)
            if held < self._share:
                self._waiting.remove(entry)
                self._free -= 1
                self._held[caller] = held + 1
                turn.set_result(None)

    def idle(self, *, undisturbed: bool) -> UpstreamConnection | None:
        """An idle connection, the one used last; older ones that are past their time are closed.

        ``undisturbed`` is for what must not be sent twice: the upstream may have closed the connection a moment ago.
        """
        idle = self._idle
        oldest = self._loop.time() - _KEEP_IDLE
        while idle and idle[0].idle_since < oldest:
            idle.pop(0).abort()
        while idle:
            connection = idle.pop()
            if connection.alive and not (undisturbed and connection.disturbed):
                return connection
            connection.abort()
        return None

    def begin(self, connection: UpstreamConnection) -> None:
        """An exchange begins; from now on its connection is asked for its deadline."""
        self._active.add(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    def fail(self, connection: UpstreamConnection) -> None:
        """An exchange failed."""
        self._active.discard(connection)
        connection.abort()

    def end(self, connection: UpstreamConnection, caller: str) -> None:
        """An exchange has ended, and its room is free; keep the connection if it can be used again."""
        self._active.discard(connection)
        connection.ends = _FOREVER
        self.leave(caller)
        if not self._closed and connection.reusable:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
        else:
            connection.abort()

    def _sweep(self) -> None:
        """One timer for all deadlines: re-arming one for every read would cost more than the read."""
        self._sweeper = None
        self._in_use()
        now = self._loop.time()
        for connection in [c for c in self._active if c.deadline <= now or c.ends <= now]:
            connection.expire()
        if self._active:
            self._sweeper = self._loop.call_later(_SWEEP, self._sweep)

    @property
    def busy(self) -> bool:
        """Whether an exchange is under way."""
        return bool(self._active)

    def retire(self) -> None:
        """Keep no connection from now on: another upstream has taken this one's place. Exchanges under way go on."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    async def close(self) -> None:
        """Close every connection; exchanges that are under way end as broken. One that begins later keeps its time."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in (*self._idle, *self._active):
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)


def _overloaded(connections: int, by_itself: bool) -> Refused:
    note = f"all {connections} connections of `upstream.max_connections` are in use"
    if by_itself:
        note = f"the caller holds its share, half of the {connections} connections of `upstream.max_connections`"
    return Refused(
        Code.OVERLOADED,
        Reason.LOAD,
        "Too many requests are waiting for Productlane.",
        note=note,
        fix="send fewer requests at a time, or raise `upstream.max_connections`",
        decided_by=f"upstream.max_connections: {connections}",
        headers=(retry_after(1),),
        limit=Limit.UPSTREAM_SHARE if by_itself else Limit.UPSTREAM_CONNECTIONS,
    )
