"""`gateway.aio.best_effort`: a service that is down delays one caller, not every caller."""

import asyncio
import sqlite3

import pytest

from gateway.aio.best_effort import BestEffort, CallFailed, Resting
from tests.support.clock import Clock


async def _answer() -> str:
    return "answer"


async def _hang() -> str:
    await asyncio.sleep(3600)
    return "late"


async def _fail() -> str:
    raise ConnectionError("secret text")


async def test_an_answer_is_given() -> None:
    """A call that works costs nothing but the call."""
    assert "answer" == await BestEffort(timeout=1, rest=10).call(_answer)


async def test_silence_is_a_failure_after_the_time_out() -> None:
    """A call without an answer fails in time, and is cancelled."""
    calls = BestEffort(timeout=0.02, rest=10)

    with pytest.raises(CallFailed) as caught:
        await calls.call(_hang)

    assert caught.value.timed_out
    assert "no answer in 20 ms" == caught.value.reason
    await calls.close()


async def test_an_error_is_told_by_its_kind() -> None:
    """The text of a client's error may quote what was sent, so only its kind is reported."""
    with pytest.raises(CallFailed) as caught:
        await BestEffort(timeout=1, rest=10).call(_fail)

    assert ("ConnectionError", False) == (caught.value.reason, caught.value.timed_out)
    assert isinstance(caught.value.__cause__, ConnectionError)


async def test_an_error_of_sqlite_is_told_by_its_name() -> None:
    """SQLite's own name of an error says more than the class."""

    async def fail() -> None:
        sqlite3.connect("/nowhere/at/all")

    with pytest.raises(CallFailed, match="SQLITE_CANTOPEN"):
        await BestEffort(timeout=1, rest=10).call(fail)


async def test_a_call_that_is_cancelled_inside_is_a_failure() -> None:
    """A client that cancels its own work does not cancel the caller."""

    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CallFailed, match="cancelled"):
        await BestEffort(timeout=1, rest=10).call(cancel)


async def test_nothing_is_asked_during_the_rest() -> None:
    """After a failure calls fail at once until the rest is over; then the next one is made."""
    clock = Clock()
    calls = BestEffort(timeout=1, rest=10, clock=clock)
    with pytest.raises(CallFailed):
        await calls.call(_fail)

    clock.now += 9.9
    assert calls.resting
    with pytest.raises(Resting):
        await calls.call(_answer)
    clock.now += 0.1
    assert "answer" == await calls.call(_answer)


async def test_what_must_be_asked_is_asked_all_the_same() -> None:
    """``always`` makes a call although the last one failed."""
    calls = BestEffort(timeout=1, rest=10)
    calls.rest()

    assert "answer" == await calls.call(_answer, always=True)


async def test_a_call_may_have_a_time_out_of_its_own() -> None:
    """``timeout`` of a call wins over that of all."""
    calls = BestEffort(timeout=3600, rest=10)

    with pytest.raises(CallFailed, match="no answer in 10 ms"):
        await calls.call(_hang, timeout=0.01)
    await calls.close()


async def test_a_client_that_ignores_its_cancellation_is_not_waited_for() -> None:
    """A call returns after the time-out and `close` after another one, even if the client ignores its cancellation."""
    calls, release = BestEffort(timeout=0.02, rest=10), asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(5):
        with pytest.raises(CallFailed):
            await calls.call(stubborn)
        await calls.close()
    release.set()


async def test_a_cancelled_caller_cancels_its_call() -> None:
    """The work of a caller that has left is cancelled."""
    calls, began, ended = BestEffort(timeout=3600, rest=10), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    caller = asyncio.create_task(calls.call(work))
    async with asyncio.timeout(5):
        await began.wait()
        caller.cancel()
        await ended.wait()
    assert not calls.resting
