"""Turns of the event loop."""

import asyncio


async def ready_have_run(count: int = 5) -> None:
    """Give every ready task of the loop a turn."""
    for _ in range(count):
        await asyncio.sleep(0)
