"""Makes expensive answers seldom enough that requests do not notice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.aio.single_flight import SingleFlight
from gateway.aio.waiting import finished

# At most a twentieth of the time goes into answers; a page of 300 policies costs 10 ms.
_REST: Final = 20
_LONGEST_REST: Final = 2.0


class Throttle:
    """Makes one answer of a kind at a time. Requests that come meanwhile share it.

    After an answer that took ``n`` seconds the next one of its kind begins ``20 n`` seconds later, at most two.
    """

    def __init__(self) -> None:
        self._flights: Final[SingleFlight[str, bytes]] = SingleFlight()
        self._next: Final[dict[str, float]] = {}

    async def get(self, kind: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer of a kind, which begins to be made after the request or is being made."""
        flight = self._flights.join(kind, lambda: self._made(kind, make))
        await finished(flight)
        return flight.result()

    async def close(self) -> None:
        await self._flights.close()

    async def _made(self, kind: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        await asyncio.sleep(max(0.0, self._next.get(kind, 0.0) - time.monotonic()))
        began = time.monotonic()
        answer = await make()
        took = time.monotonic() - began
        self._next[kind] = time.monotonic() + min(_REST * took, _LONGEST_REST)
        return answer
