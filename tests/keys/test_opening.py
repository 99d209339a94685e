"""`gateway.keys.opening`: the storage of each kind of store, and what it takes to have it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.store import Redis, Store
from gateway.keys.opening import kind_of, storage_of

STORES: dict[str, Store] = {"memory": None, "sqlite": Path("identity.db"), "redis": Redis("127.0.0.1", 9)}


@pytest.mark.parametrize("kind", STORES)
async def test_each_store_has_its_storage(kind: str) -> None:
    """What `store` names is what is used."""
    storage = storage_of(STORES[kind], wall=lambda: 0.0, on_aside=print)
    await storage.close()

    assert kind == kind_of(STORES[kind])
    assert f"{kind}storage" == type(storage).__name__.lower()


def test_what_is_not_configured_is_not_imported() -> None:
    """A gateway that keeps everything in memory pays neither for Redis' client nor for SQLite."""
    program = (
        "import sys, gateway.runtime.server; from gateway.keys.opening import storage_of;"
        "storage_of(None, wall=lambda: 0.0, on_aside=print);"
        "print(sorted(sys.modules.keys() & {'redis', 'sqlite3', 'limits'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2]
    )

    assert ("[]\n", "") == (done.stdout, done.stderr)
