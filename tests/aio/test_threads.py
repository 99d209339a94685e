"""`gateway.aio.threads`: work that may hang delays neither the loop nor the end of the process."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from gateway.aio.threads import in_daemon_thread
from tests.support.deadline import DEADLINE


async def test_the_result_and_the_error_of_the_work_are_given() -> None:
    """The waiter gets the work's result, or the error that it raised."""

    def fail() -> None:
        raise LookupError("no")

    assert "work" == await in_daemon_thread(lambda: threading.current_thread().name, "work")
    with pytest.raises(LookupError):
        await in_daemon_thread(fail, "work")


async def test_what_nobody_waits_for_is_no_complaint() -> None:
    """A caller that leaves does not cancel the work, and the loop does not report its late error."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    gate, threads = threading.Event(), list[threading.Thread]()

    def hang() -> None:
        threads.append(threading.current_thread())
        gate.wait(DEADLINE)
        raise LookupError("too late")

    left, unread = in_daemon_thread(hang, "work"), in_daemon_thread(hang, "work")
    left.cancel()
    gate.set()
    async with asyncio.timeout(DEADLINE):
        await asyncio.wait({unread})
    for thread in threads:
        await asyncio.to_thread(thread.join, DEADLINE)
    await asyncio.sleep(0)
    del left, unread
    gc.collect()

    assert [True, True] == [thread.daemon for thread in threads]
    assert [] == complaints


async def test_a_thread_that_cannot_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of threads the caller gets an error in place of a result."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        work = in_daemon_thread(int, "work")

    with pytest.raises(RuntimeError):
        await work
