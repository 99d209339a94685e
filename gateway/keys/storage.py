"""Where bytes are kept by key: in memory, and behind a guard that turns every fault of a storage into a miss."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, Protocol, TypeVar

ENTRIES: Final = 1024

Clock = Callable[[], float]
_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """A bounded mapping from text: the entry that was used longest ago makes room for a new one."""

    __slots__ = ("_bound", "_entries")

    def __init__(self, bound: int = ENTRIES) -> None:
        self._bound = bound
        self._entries: OrderedDict[str, _Value] = OrderedDict()

    def get(self, key: str) -> _Value | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: str, value: _Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._bound:
            self._entries.popitem(last=False)

    def drop(self, key: str) -> None:
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


class Storage(Protocol):
    """Keeps bytes under a key. ``seconds`` is how long they can be of use; a storage may forget them at any time."""

    async def get(self, key: str) -> bytes | None: ...
    async def set(self, key: str, value: bytes, seconds: float) -> None: ...
    async def delete(self, key: str) -> None: ...


class MemoryStorage:
    """The storage of one process. Its bound is what limits it; readers judge age by themselves, so none is swept."""

    def __init__(self, bound: int = ENTRIES) -> None:
        self.entries: Final[Recent[bytes]] = Recent(bound)

    async def get(self, key: str) -> bytes | None:
        return self.entries.get(key)

    async def set(self, key: str, value: bytes, seconds: float) -> None:  # noqa: ARG002 - the bound is enough here
        self.entries.put(key, value)

    async def delete(self, key: str) -> None:
        self.entries.drop(key)


class Patient:
    """A storage that never fails and never keeps a request waiting: a fault or ``patience`` of silence is a miss.

    After either, nothing but deletions is asked of the storage for ``rest``, so that a dead one costs one request
    its patience and not every request. Times are seconds.
    """

    def __init__(
        self, storage: Storage, *, patience: float = 0.05, rest: float = 5.0, clock: Clock = time.monotonic
    ) -> None:
        self._storage: Final = storage
        self._patience: Final = patience
        self._rest: Final = rest
        self._clock: Final = clock
        self._resume = float("-inf")
        self._calls: Final[set[asyncio.Task[Any]]] = set()

    async def get(self, key: str) -> bytes | None:
        if self._clock() < self._resume:
            return None
        value = await self._ask(lambda: self._storage.get(key))
        return value if isinstance(value, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        if self._clock() >= self._resume:
            await self._ask(lambda: self._storage.set(key, value, seconds))

    async def delete(self, key: str) -> None:
        await self._ask(lambda: self._storage.delete(key))

    async def _ask(self, question: Callable[[], Awaitable[_Value]]) -> _Value | None:
        async def call() -> _Value:
            return await question()

        task = asyncio.create_task(call())
        self._calls.add(task)
        task.add_done_callback(self._ended)
        try:
            # `wait_for` would go on waiting for a storage that does not heed its cancellation.
            await asyncio.wait({task}, timeout=self._patience)
        finally:
            task.cancel()
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        self._resume = self._clock() + self._rest
        return None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, or asyncio would report a late one as never retrieved
