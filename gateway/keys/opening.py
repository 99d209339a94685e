"""The storage that a configuration asks for. What it does not ask for is not imported."""

from collections.abc import Callable
from pathlib import Path

from gateway.config.store import Redis, Store
from gateway.keys.storage import Clock, MemoryStorage, Storage


def storage_of(store: Store, *, wall: Clock, on_aside: Callable[[Path], None]) -> Storage:
    """The storage, which opens nothing before it is used. The arguments are those of `SqliteStorage`."""
    if isinstance(store, Redis):
        from gateway.keys.redis import RedisStorage

        return RedisStorage(store)
    if store is not None:
        from gateway.keys.sqlite import SqliteStorage

        return SqliteStorage(store, wall=wall, on_aside=on_aside)
    return MemoryStorage()


def kind_of(store: Store) -> str:
    """``memory``, ``sqlite`` or ``redis``."""
    return "redis" if isinstance(store, Redis) else "memory" if store is None else "sqlite"
