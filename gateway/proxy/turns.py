"""How many requests and TLS handshakes begin in one turn of the event loop, and whose are next where there are more."""

import asyncio
from collections import deque
from typing import Final

# A refusal takes 0.2 ms and a handshake 0.8: without a bound, the thousand connections that one address may have would
# take up to 0.8 s in one turn.
BEGIN_A_TURN: Final = 16


class Turns:
    """Up to `BEGIN_A_TURN` requests begin in a turn; more wait for the next ones, in which the addresses take turns.

    A flood from one address then holds others up for a few milliseconds, however many of its requests come at once.
    """

    __slots__ = ("_begun", "_lines", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._begun = 0
        self._lines: Final[dict[str, deque[asyncio.Future[None]]]] = {}

    def take(self, address: str) -> "asyncio.Future[None] | None":
        """None where a request may begin now; else what it waits for."""
        if not self._begun:
            self._loop.call_soon(self._next)
        if self._begun < BEGIN_A_TURN:
            self._begun += 1
            return None
        turn: asyncio.Future[None] = self._loop.create_future()
        self._lines.setdefault(address, deque()).append(turn)
        return turn

    def _next(self) -> None:
        """Another turn: those who wait are the first in it."""
        self._begun = 0
        while self._lines and self._begun < BEGIN_A_TURN:
            address = next(iter(self._lines))
            line = self._lines.pop(address)
            turn = line.popleft()
            if line:
                self._lines[address] = line
            if not turn.done():
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            self._loop.call_soon(self._next)
