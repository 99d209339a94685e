"""`gateway.aio.background`: a task is held until it ends."""

import asyncio
import gc

from gateway.aio.background import Background


async def _fail() -> None:
    raise ValueError


async def test_asyncio_has_nothing_to_complain_about() -> None:
    """An error that nobody waits for is dropped; asyncio does not report it as never retrieved."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    tasks = Background()

    tasks.start(_fail())
    await tasks.join()
    gc.collect()

    assert [] == complaints
    assert not tasks


async def test_a_task_is_held_while_it_runs() -> None:
    """A task that nothing else refers to is not collected before its end."""
    tasks, done = Background(), asyncio.Event()

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, future.set_result, None)
        await future
        done.set()

    tasks.start(work())
    gc.collect()
    await tasks.join()

    assert done.is_set()


async def test_join_waits_for_tasks_that_begin_meanwhile() -> None:
    """A task may start another one; `join` ends when none is left."""
    tasks, done = Background(), asyncio.Event()

    async def second() -> None:
        await asyncio.sleep(0)
        done.set()

    async def first() -> None:
        await asyncio.sleep(0)
        tasks.start(second())

    tasks.start(first())
    await tasks.join()

    assert done.is_set()


async def test_close_cancels() -> None:
    """After `close` no task is left."""
    tasks = Background()
    task = tasks.start(asyncio.sleep(3600))

    await tasks.close()

    assert task.cancelled()
    assert not tasks


async def test_close_gives_up_a_task_that_ignores_it() -> None:
    """`close` waits no longer than its time-out for a task that swallows its cancellation."""
    tasks, release = Background(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await release.wait()

    task = tasks.start(stubborn())
    await asyncio.sleep(0)
    await tasks.close(0.01)
    assert not task.done()

    release.set()
    await tasks.join()
