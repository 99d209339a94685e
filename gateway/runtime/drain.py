"""The end of a process, without losing a request: no new connections, then no new requests."""

import asyncio
from typing import Final

from gateway.aio.waiting import happened
from gateway.config.schema.gateway import Drain
from gateway.proxy.listener import Listener

# How often a drain looks whether it is done, and how long answers that it cuts have to leave.
_LOOK: Final = 0.02
_CUT_GRACE: Final = 0.5


async def drain(listener: Listener, accepting: asyncio.Server, settings: Drain, second_signal: asyncio.Event) -> None:
    """Let callers leave. ``accepting`` is the socket of the listener.

    For `drain.delay` the gateway goes on accepting, while each answer tells its caller to come back on another
    connection. What is then in hand has until `drain.timeout`. ``second_signal`` ends the waiting.
    """
    await happened(second_signal, settings.delay)
    accepting.close()
    listener.close_idle()
    await _until_finished(listener, settings.timeout, second_signal)
    if listener.unfinished:
        listener.cut()
        await _until_finished(listener, _CUT_GRACE, asyncio.Event())


async def _until_finished(listener: Listener, seconds: float, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while listener.unfinished and loop.time() < deadline and not stop.is_set():  # noqa: ASYNC110 - seconds, once
        await asyncio.sleep(_LOOK)
