"""Where bytes are kept by key: in memory, and behind a guard that turns every fault of a storage into a miss."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

ENTRIES: Final = 1024

# How long a request waits for a storage, and how long one that failed is left alone: no request pays for it meanwhile,
# and it is back in use as soon after it has recovered. Seconds.
PATIENCE: Final = 0.05
REST: Final = 10.0

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

    async def claim(self, key: str, seconds: float) -> bool:
        """Put something under a key that holds nothing; whether it did. `delete` takes it away before its time."""

    async def open(self) -> None:
        """Make the first question quick. It may be asked without."""

    async def close(self) -> None: ...


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

    async def claim(self, key: str, seconds: float) -> bool:  # noqa: ARG002 - nobody else is here to claim anything
        return True

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def close(self) -> None:
        """Nothing is open."""


Use = Literal["read", "write"]
OnFault = Callable[[Use, str, bool], None]
OnBack = Callable[[Use], None]


def ignore_fault(use: Use, why: str, first: bool) -> None:
    """Nobody is told of faults."""


def ignore_back(use: Use) -> None:
    """Nobody is told that it works again."""


class Patient:
    """A storage that never fails and never keeps a request waiting: a fault or ``patience`` of silence is a miss.

    After either, nothing but deletions is asked of the storage for ``rest``, so that a dead one costs one request
    its patience and not every request. One that only takes no writes, being full or a replica, is read all the same.
    Times are seconds. ``on_fault`` is told of each fault, with why and whether it worked before; ``on_back`` that it
    works again. ``faults`` are those that stand, by what the storage was asked for.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        patience: float = PATIENCE,
        rest: float = REST,
        clock: Clock = time.monotonic,
        on_fault: OnFault = ignore_fault,
        on_back: OnBack = ignore_back,
    ) -> None:
        self._storage: Final = storage
        self._patience: Final = patience
        self._rest: Final = rest
        self._clock: Final = clock
        self._on_fault: Final = on_fault
        self._on_back: Final = on_back
        self._resume: dict[Use, float] = {"read": float("-inf"), "write": float("-inf")}
        self._calls: Final[set[asyncio.Task[Any]]] = set()
        self.faults: Final[dict[str, str]] = {}

    async def get(self, key: str) -> bytes | None:
        value = await self._ask("read", lambda: self._storage.get(key))
        return value if isinstance(value, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await self._ask("write", lambda: self._storage.set(key, value, seconds))

    async def delete(self, key: str) -> None:
        await self._ask("write", lambda: self._storage.delete(key), always=True)

    async def claim(self, key: str, seconds: float) -> bool:
        """As `Storage.claim`; true as well where the storage cannot say, so that a fault of it holds nobody up."""
        return await self._ask("write", lambda: self._storage.claim(key, seconds)) is not False

    async def open(self, patience: float = PATIENCE) -> None:
        """Make the storage ready, in so many seconds at most."""
        await self._ask("read", self._storage.open, patience=patience)

    async def close(self) -> None:
        """Give up what is being asked, and close the storage."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._patience)
        await self._storage.close()

    async def _ask(
        self, use: Use, question: Callable[[], Awaitable[_Value]], *, always: bool = False, patience: float = 0.0
    ) -> _Value | None:
        if not always and self._clock() < self._resume[use]:
            return None

        async def call() -> _Value:
            return await question()

        task = asyncio.create_task(call())
        self._calls.add(task)
        task.add_done_callback(self._ended)
        try:
            # `wait_for` would go on waiting for a storage that does not heed its cancellation.
            await asyncio.wait({task}, timeout=patience or self._patience)
        finally:
            task.cancel()
        if not task.done():
            self._failed(use, f"no answer in {(patience or self._patience) * 1000:.0f} ms")
            # What does not answer one question would not answer another one either.
            self._resume = dict.fromkeys(self._resume, self._resume[use])
            return None
        if task.cancelled():
            self._failed(use, "cancelled")
            return None
        if (error := task.exception()) is not None:
            self._failed(use, _why(error))
            return None
        # That a full storage deletes does not mean that it takes a value.
        if not always and self.faults.pop(use, None) is not None:
            self._on_back(use)
        return task.result()

    def _failed(self, use: Use, why: str) -> None:
        self._resume[use] = self._clock() + self._rest
        first = use not in self.faults
        self.faults[use] = why
        self._on_fault(use, why, first)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, or asyncio would report a late one as never retrieved


def _why(error: BaseException) -> str:
    """The kind of an error, never its text: that of a client may quote what was sent."""
    return str(getattr(error, "sqlite_errorname", "") or type(error).__name__)
