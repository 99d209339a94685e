"""`gateway.aio.single_flight`: callers that want the same thing share one call."""

import asyncio

import pytest

from gateway.aio.single_flight import SingleFlight
from gateway.aio.waiting import cancelled, finished


class Source:
    """Counts calls and answers them when the test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        await self.answer.wait()
        return number


async def test_callers_share_a_call() -> None:
    """Many callers at a time are one call for each key, and all get its answer."""
    flights, source = SingleFlight[str, int](), Source()

    async def ask() -> int:
        task = flights.join("key", source)
        await finished(task)
        return task.result()

    callers = [asyncio.create_task(ask()) for _ in range(5)]
    await asyncio.sleep(0)
    source.answer.set()

    assert [1] * 5 == await asyncio.gather(*callers)
    assert flights.running("key") is None


async def test_another_key_is_another_call() -> None:
    """Keys do not wait for each other."""
    flights, source = SingleFlight[str, int](), Source()

    one, two = flights.join("one", source), flights.join("two", source)
    source.answer.set()

    assert (1, 2) == (await one, await two)


async def test_a_caller_that_leaves_takes_nothing_away() -> None:
    """The call continues for the others when the caller that started it is cancelled."""
    flights, source = SingleFlight[str, int](), Source()

    async def ask() -> None:
        await finished(flights.join("key", source))

    first = asyncio.create_task(ask())
    await asyncio.sleep(0)
    second = flights.join("key", source)
    await cancelled(first)
    source.answer.set()

    assert 1 == await second


async def test_a_forgotten_call_is_shared_no_more() -> None:
    """Its callers still get the answer; the next caller begins another call, which stays when the first ends."""
    flights, source = SingleFlight[str, int](), Source()
    before = flights.join("key", source)
    flights.forget("key")
    after = flights.join("key", source)
    assert after is not before

    source.answer.set()
    assert 1 == await before
    assert 2 == await after
    await asyncio.sleep(0)
    assert flights.running("key") is None


async def test_a_call_can_begin_anew() -> None:
    """`begin` starts a call although one is running, and new callers share the new one."""
    flights, source = SingleFlight[str, int](), Source()
    flights.join("key", source)

    anew = flights.begin("key", source)

    assert flights.running("key") is anew
    await flights.close()
    assert anew.cancelled()


async def test_an_error_reaches_every_caller() -> None:
    """All who share a call see its error; the next call is a new one."""
    flights = SingleFlight[str, int]()

    async def fail() -> int:
        raise ValueError

    task = flights.join("key", fail)
    await finished(task)

    with pytest.raises(ValueError, match=r"^$"):
        task.result()
    assert flights.running("key") is None
