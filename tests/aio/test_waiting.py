"""`gateway.aio.waiting`: a wait has a deadline and does not cancel the work."""

import asyncio

from gateway.aio.waiting import cancelled, finished, happened


async def test_the_end_of_the_time_leaves_the_work_alone() -> None:
    """A wait that times out returns false, and the work continues."""
    work = asyncio.get_running_loop().create_future()

    assert not await finished(work, 0.01)
    assert not work.done()

    work.set_result(None)
    assert await finished(work, 0.01)


async def test_a_cancelled_caller_leaves_the_work_alone() -> None:
    """A waiter that gives up takes nothing away from the others."""
    work = asyncio.get_running_loop().create_future()
    caller = asyncio.create_task(finished(work))
    await asyncio.sleep(0)

    await cancelled(caller)

    assert caller.cancelled()
    assert not work.cancelled()


async def test_an_event_is_waited_for_so_long() -> None:
    """`happened` says whether the event was set in time."""
    event = asyncio.Event()
    assert not await happened(event, 0.01)

    event.set()
    assert await happened(event, 0.01)
    assert await happened(event, None)
