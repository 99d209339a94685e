"""Work that blocks, in a thread that the end of the process does not wait for."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def in_daemon_thread(work: Callable[[], _T], name: str) -> "asyncio.Future[_T]":
    """Run ``work`` in a daemon thread of its own; its result or its error, on the running loop.

    A thread of an executor would keep a process alive whose disk or resolver hangs, and another caller's work waiting.
    Cancelling the future leaves the work alone. An error that nobody reads is dropped, as is a result that comes after
    the end of the loop. Where no thread can be started, the error is RuntimeError.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def run() -> None:
        settle: Callable[[], None]
        try:
            settle = functools.partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            settle = functools.partial(future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        future.set_exception(error)
    return future
