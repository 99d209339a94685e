"""Stores for answers to ``GET /me`` beyond this process: their interface, their bounds, and how to make one."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, TypeVar, get_args

from gateway.aio.best_effort import BestEffort, CallFailed, Resting
from gateway.config.store import Redis
from gateway.config.store import Store as StoreSetting
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import StoreBack, StoreFault

# How long a request waits for a store, and how long one that failed is left alone, in seconds.
TIMEOUT: Final = 0.05
REST: Final = 10.0

Clock = Callable[[], float]
Use = Literal["read", "write"]
_T = TypeVar("_T")


class Store(Protocol):
    """Keeps bytes under a key. ``seconds`` is how long they can be of use; a store may forget them at any time."""

    async def get(self, key: str) -> bytes | None: ...
    async def set(self, key: str, value: bytes, seconds: float) -> None: ...
    async def delete(self, key: str) -> None: ...

    async def claim(self, key: str, seconds: float) -> bool:
        """Put something under an empty key; returns whether the key was empty. `delete` ends a claim early."""

    async def open(self) -> None:
        """Connect, so that the first question is quick. A question may come without it."""

    async def close(self) -> None: ...


def kind_of(setting: StoreSetting) -> str:
    """``memory``, ``sqlite`` or ``redis``."""
    return "redis" if isinstance(setting, Redis) else "memory" if setting is None else "sqlite"


class BestEffortStore:
    """A store that never fails and never keeps a request waiting: a fault, or ``timeout`` of silence, is a miss.

    After either, only deletions reach the store for `REST` seconds. A store that takes no writes, because it is full
    or a replica, is still read. ``emit`` gets each fault of this ``kind`` of store, and that it works again.
    ``faults`` has the present faults, by use.
    """

    def __init__(
        self,
        store: Store,
        *,
        timeout: float = TIMEOUT,
        clock: Clock = time.monotonic,
        kind: str = "",
        emit: Emit = ignore,
    ) -> None:
        self._store: Final = store
        self._calls: Final = {use: BestEffort(timeout=timeout, rest=REST, clock=clock) for use in get_args(Use)}
        self._kind: Final = kind
        self._emit: Final = emit
        self.faults: Final[dict[str, str]] = {}

    async def get(self, key: str) -> bytes | None:
        value = await self._call("read", lambda: self._store.get(key))
        return value if isinstance(value, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await self._call("write", lambda: self._store.set(key, value, seconds))

    async def delete(self, key: str) -> None:
        await self._call("write", lambda: self._store.delete(key), always=True)

    async def claim(self, key: str, seconds: float) -> bool:
        """As `Store.claim`; also true where the store cannot say, so that its fault delays nobody."""
        return await self._call("write", lambda: self._store.claim(key, seconds)) is not False

    async def open(self, timeout: float = TIMEOUT) -> None:
        """Make the store ready, in so many seconds at most."""
        await self._call("read", self._store.open, timeout=timeout)

    async def close(self) -> None:
        """Give up running calls, and close the store."""
        for calls in self._calls.values():
            await calls.close()
        await self._store.close()

    def failed(self, use: Use, why: str) -> None:
        """Report a fault, and leave the store alone for a while: it failed, or its answer cannot be true."""
        self._calls[use].rest()
        first = use not in self.faults
        self.faults[use] = why
        self._emit(StoreFault(self._kind, use, why, first))

    async def _call(
        self, use: Use, work: Callable[[], Awaitable[_T]], *, always: bool = False, timeout: float | None = None
    ) -> _T | None:
        try:
            value = await self._calls[use].call(work, always=always, timeout=timeout)
        except Resting:
            return None
        except CallFailed as failure:
            if failure.timed_out:
                # A store that does not answer one question would not answer another one either.
                for calls in self._calls.values():
                    calls.rest()
            self.failed(use, failure.reason)
            return None
        # A full store still deletes, so a deletion does not prove that it works.
        if not always and self.faults.pop(use, None) is not None:
            self._emit(StoreBack(self._kind, use))
        return value


def make_store(setting: StoreSetting, *, wall: Clock, emit: Emit) -> BestEffortStore | None:
    """The store that a configuration asks for; None for memory. It opens nothing yet, and only its client is imported.

    ``wall`` is Unix time in seconds.
    """
    store: Store
    if setting is None:
        return None
    if isinstance(setting, Redis):
        from gateway.keys.redis import RedisStore

        store = RedisStore(setting)
    else:
        from gateway.keys.sqlite import SqliteStore

        store = SqliteStore(setting, wall=wall, emit=emit)
    return BestEffortStore(store, kind=kind_of(setting), emit=emit)
