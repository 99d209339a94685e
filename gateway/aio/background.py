"""Background tasks: held while they run, and every error seen."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from gateway.aio.waiting import cancelled

_T = TypeVar("_T")


class Background:
    """Starts tasks that may outlive their caller.

    asyncio holds a running task by a weak reference only, and complains about an error that nobody retrieved. A task
    started here is held until it ends; its error is retrieved and passed to ``on_error``. Leave ``on_error`` out
    if the code that waits for a task reads its error, and the error of any other task means nothing.
    """

    __slots__ = ("_on_error", "_tasks")

    def __init__(self, on_error: Callable[[BaseException], None] | None = None) -> None:
        self._on_error: Final = on_error
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
        if not task.cancelled() and (error := task.exception()) is not None and self._on_error is not None:
            self._on_error(error)
