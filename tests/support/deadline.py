"""How long a test waits: for an answer that no event announces, for the end of a process, and at all."""

import asyncio
import contextlib
import functools
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from typing import Any, Final

DEADLINE: Final = 10.0


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until a question is answered with yes, in `DEADLINE` seconds."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():  # noqa: ASYNC110 - there is no event: it is asked over a socket
            await asyncio.sleep(0.01)


async def kill(process: Process) -> None:
    """End a process that still runs, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    async with asyncio.timeout(DEADLINE):
        await process.wait()


def limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    """The test, cancelled after so many seconds, so that what it has opened is closed.

    The alarm of pytest-timeout may meet a callback instead, whose exception the loop only reports.
    """

    @functools.wraps(test)
    async def within(*given: Any, **named: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*given, **named)

    return within
