"""Deadlines: for a condition that is polled, for the end of a process, and for a whole test."""

import asyncio
import contextlib
import functools
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from typing import Any, Final

DEADLINE: Final = 10.0


async def eventually(holds: Callable[[], Awaitable[object]], seconds: float = DEADLINE) -> None:
    """Wait until a question is answered with yes, in so many seconds."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - there is no event: it is asked over a socket
            await asyncio.sleep(0.01)


async def kill(process: Process) -> None:
    """End a process that still runs, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    async with asyncio.timeout(DEADLINE):
        await process.wait()


def limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    """The test, cancelled after these seconds, so that its context managers close.

    The exception of pytest-timeout may be raised inside a callback, where the loop only reports it.
    """

    @functools.wraps(test)
    async def within(*given: Any, **named: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*given, **named)

    return within
