"""How long a test waits, and waiting for an answer that no event announces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

DEADLINE: Final = 10.0


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until a question is answered with yes, in `DEADLINE` seconds."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():  # noqa: ASYNC110 - there is no event: it is asked over a socket
            await asyncio.sleep(0.01)
