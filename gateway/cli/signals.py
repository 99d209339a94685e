"""Waiting for whoever started the process to end it."""

import asyncio
import signal


async def until_ended() -> None:
    """Return at the first SIGINT or SIGTERM. From then on they do what they did before."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
