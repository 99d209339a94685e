"""Single flight: however many callers want the same thing, it is asked for once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

from gateway.aio.background import Background

_Key = TypeVar("_Key", bound=Hashable)
_T = TypeVar("_T")


class SingleFlight(Generic[_Key, _T]):
    """At most one running call for each key. Callers wait for its task with `gateway.aio.waiting.finished`.

    A caller that is cancelled leaves the call to the others. Read the task's `result` or error after the wait; an error
    that nobody reads is dropped.
    """

    __slots__ = ("_flights", "_tasks")

    def __init__(self) -> None:
        self._flights: Final[dict[_Key, asyncio.Task[_T]]] = {}
        self._tasks: Final = Background()

    def running(self, key: _Key) -> "asyncio.Task[_T] | None":
        """The call that new callers would share."""
        return self._flights.get(key)

    def join(self, key: _Key, work: Callable[[], Coroutine[Any, Any, _T]]) -> "asyncio.Task[_T]":
        """The running call, or one that begins now."""
        return self._flights.get(key) or self.begin(key, work)

    def begin(self, key: _Key, work: Callable[[], Coroutine[Any, Any, _T]]) -> "asyncio.Task[_T]":
        """A call that begins now, whatever is running; new callers share this one."""
        task = self._flights[key] = self._tasks.start(work())
        task.add_done_callback(lambda ended: self._landed(key, ended))
        return task

    def forget(self, key: _Key) -> None:
        """Let the running call end for its callers; the next caller begins another one."""
        self._flights.pop(key, None)

    async def close(self) -> None:
        """Cancel every call and wait for its end."""
        await self._tasks.close()

    def _landed(self, key: _Key, task: "asyncio.Task[_T]") -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
