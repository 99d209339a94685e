"""How a command that runs until it is ended learns that it is."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set while the context lasts. Enter it before saying that anything runs."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in _ENDING:
        loop.add_signal_handler(number, asked.set)
    try:
        yield asked
    finally:
        for number in _ENDING:
            loop.remove_signal_handler(number)
