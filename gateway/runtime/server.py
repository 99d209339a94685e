"""Serves one gateway, from its start until a signal ends it."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager

import aiohttp.http_parser

from gateway.net.sockets import CannotStart
from gateway.runtime.gateway import Gateway


def check_runtime(*, debug: bool) -> None:
    """Raise `CannotStart` where the interpreter is set up so that keys could leak or requests be misread."""
    if aiohttp.http_parser.HttpRequestParser is aiohttp.http_parser.HttpRequestParserPy:
        raise CannotStart(
            "aiohttp runs without its C parser, whose stand-in is laxer; install a wheel with extensions and unset "
            "AIOHTTP_NO_EXTENSIONS"
        )
    if debug:
        raise CannotStart(
            "asyncio's debug mode is on, which writes data into error messages; unset PYTHONASYNCIODEBUG and -X dev"
        )


async def serve(starting: AbstractAsyncContextManager[Gateway]) -> None:
    """Start a gateway and serve until SIGTERM or SIGINT, then drain; a second signal ends the drain.

    SIGHUP looks at secrets and the configuration at once. Raises `CannotStart`.
    """
    loop = asyncio.get_running_loop()
    asked, second_signal = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second_signal if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # a gateway that starts looks by itself
    try:
        async with starting as gateway:
            loop.add_signal_handler(signal.SIGHUP, gateway.look)
            await asked.wait()
            await gateway.drain(second_signal)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
