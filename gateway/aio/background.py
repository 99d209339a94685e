"""Background tasks: held while they run."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from gateway.aio.waiting import cancelled

_T = TypeVar("_T")


class Background:
    """Starts tasks that may outlive their caller.

    asyncio holds a running task by a weak reference only, and complains about an error that nobody retrieved. A task
    started here is held until it ends; its error is for the code that waits for the task, and else dropped. Work that
    nobody waits for has to report its own failure.
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: Final[set[asyncio.Task[Any]]] = set()

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run ``work`` as a task of the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(self) -> None:
        """Wait until every task has ended, those too that begin meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self, timeout: float | None = None) -> None:
        """Cancel every task and wait until they have ended, for at most ``timeout`` seconds."""
        await cancelled(*self._tasks, timeout=timeout)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so asyncio does not complain
