"""Waits that neither cancel the work nor raise its error."""

import asyncio
from typing import Any


async def finished(work: "asyncio.Future[Any]", timeout: float | None = None) -> bool:
    """Wait until ``work`` is done, for at most ``timeout`` seconds; whether it is.

    Neither the end of the time nor a cancelled caller cancels the work, and its error is not raised here.
    """
    await asyncio.wait({work}, timeout=timeout)
    return work.done()


async def happened(event: asyncio.Event, timeout: float | None) -> bool:
    """Wait until ``event`` is set, for at most ``timeout`` seconds; whether it is."""
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


async def cancelled(*tasks: "asyncio.Task[Any]", timeout: float | None = None) -> None:
    """Cancel tasks and wait until they have ended, for at most ``timeout`` seconds. Their errors are not raised."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)
