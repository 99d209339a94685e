"""`gateway.keys.store`: which store a setting asks for, and a guard by which no fault of it reaches a request."""

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.store import Redis
from gateway.config.store import Store as Setting
from gateway.keys.store import BestEffortStore, kind_of, make_store
from gateway.telemetry.event import ignore
from gateway.telemetry.events.keys import StoreBack, StoreFault
from tests.support.clock import Clock
from tests.support.command import environment
from tests.support.stores import BrokenStore, MemoryStore, SilentStore


async def test_a_working_storage_is_passed_through() -> None:
    """Between the guard and a storage that works nothing is lost."""
    store = BestEffortStore(MemoryStore())
    await store.set("a", b"1", 60)
    kept = await store.get("a")
    await store.delete("a")

    assert (b"1", None) == (kept, await store.get("a"))


@pytest.mark.parametrize("call", ["get", "set", "delete"])
async def test_an_error_is_a_miss(call: str) -> None:
    """Whatever a storage raises, the code that asks sees a miss."""
    store = BestEffortStore(BrokenStore())
    arguments: dict[str, tuple[Any, ...]] = {"get": ("a",), "set": ("a", b"1", 60.0), "delete": ("a",)}

    assert None is await getattr(store, call)(*arguments[call])


async def test_a_storage_that_fails_is_left_alone_for_a_while() -> None:
    """A dead storage costs one request its patience and not every request; ten seconds later it is tried again."""
    clock, broken = Clock(), BrokenStore()
    store = BestEffortStore(broken, clock=clock)
    for _ in range(3):
        await store.get("a")
    after_failing = broken.asked
    clock.now += 9.9
    await store.get("a")
    shortly_before = broken.asked
    clock.now += 0.1
    await store.get("a")

    assert (1, 1, 2) == (after_failing, shortly_before, broken.asked)


async def test_a_storage_that_takes_no_writes_is_read() -> None:
    """A full storage or a read-only replica still answers reads."""

    class Full(MemoryStore):
        async def set(self, key: str, value: bytes, seconds: float) -> None:
            raise OSError(28, "No space left on device")

    clock, full = Clock(), Full()
    full.entries["a"] = b"1"
    store = BestEffortStore(full, clock=clock)
    await store.set("b", b"2", 60)

    assert ({"write": "OSError"}, b"1") == (store.faults, await store.get("a"))


async def test_silence_rests_reading_and_writing() -> None:
    """What does not answer a question is not asked another one in the same breath: a request waits once."""
    silent = SilentStore()
    store = BestEffortStore(silent, timeout=0.01, clock=Clock())
    async with asyncio.timeout(5):
        await store.get("a")
        await store.set("a", b"1", 60)
        claimed = await store.claim("b", 1)
        calls = sum(len(calls._calls) for calls in store._calls.values())
        silent.released.set()
        await store.close()

    assert (True, 1) == (claimed, calls)


async def test_what_fails_is_told_and_that_it_works_again() -> None:
    """A listener learns of each fault, whether it is the first in a row, and when it is over."""
    reported: list[Any] = []
    working, clock = MemoryStore(), Clock()
    broken: Any = BrokenStore()
    store = BestEffortStore(broken, clock=clock, kind="redis", emit=reported.append)
    await store.get("a")
    clock.now += 10
    await store.get("a")
    await store.set("a", b"1", 60)
    store._store = working  # type: ignore[misc]
    clock.now += 10
    await store.get("a")
    await store.get("a")

    assert [
        StoreFault("redis", "read", "ConnectionError", True),
        StoreFault("redis", "read", "ConnectionError", False),
        StoreFault("redis", "write", "OSError", True),
        StoreBack("redis", "read"),
    ] == reported
    assert {"write": "OSError"} == store.faults


async def test_a_claim_that_cannot_be_made_is_ours() -> None:
    """If the storage cannot decide which replica asks, every replica asks."""
    store = BestEffortStore(BrokenStore(), clock=Clock())

    assert [True, True] == [await store.claim("a", 1) for _ in range(2)]


async def test_deletions_are_tried_even_while_it_rests() -> None:
    """What must be forgotten is not kept because the storage has just failed."""
    broken = BrokenStore()
    store = BestEffortStore(broken, clock=Clock())
    await store.get("a")
    await store.delete("a")

    assert 2 == broken.asked


@pytest.mark.slow
async def test_silence_is_a_miss() -> None:
    """A storage that never answers and ignores cancellation delays no caller; the loop reports no late error."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    silent = SilentStore()
    store = BestEffortStore(silent, timeout=0.01, clock=Clock())
    async with asyncio.timeout(5):
        missed = await store.get("a")
        await store.delete("a")
    still_hanging = silent.ended == 0
    silent.released.set()
    async with asyncio.timeout(5):
        for calls in store._calls.values():
            await calls._calls.join()
    gc.collect()

    assert (None, True, 2) == (missed, still_hanging, silent.ended)
    assert [] == complaints


async def test_only_bytes_are_a_value() -> None:
    """A storage that gives something else than bytes has missed."""

    class Odd(MemoryStore):
        async def get(self, key: str) -> Any:
            return "text"

    assert None is await BestEffortStore(Odd()).get("a")


async def test_a_caller_that_leaves_takes_its_question_along() -> None:
    """Cancelling a caller cancels the call to the storage."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def get(self, key: str) -> bytes | None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return None

    asking = asyncio.create_task(BestEffortStore(Slow(), timeout=60).get("a"))
    async with asyncio.timeout(5):
        await started.wait()
        asking.cancel()
        await cancelled.wait()

    with pytest.raises(asyncio.CancelledError):
        await asking


STORES: dict[str, Setting] = {"memory": None, "sqlite": Path("identity.db"), "redis": Redis("127.0.0.1", 9)}


@pytest.mark.parametrize("kind", STORES)
async def test_each_setting_has_its_store(kind: str) -> None:
    """`store` selects the storage; memory needs none."""
    store = make_store(STORES[kind], wall=lambda: 0.0, emit=ignore)
    used = None if store is None else type(store._store).__name__.lower()

    assert kind == kind_of(STORES[kind])
    assert (None if kind == "memory" else f"{kind}store") == used


@pytest.mark.slow
def test_what_is_not_configured_is_not_imported() -> None:
    """A gateway that keeps everything in memory pays neither for the cache's library and its clients nor for SQLite."""
    program = (
        "import sys, gateway.runtime.server; from gateway.keys.store import make_store;"
        "make_store(None, wall=lambda: 0.0, emit=print);"
        "print(sorted(sys.modules.keys() & {'redis', 'sqlite3', 'limits', 'aiohttp_client_cache'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env=environment(checked=False),
    )

    assert ("[]\n", "") == (done.stdout, done.stderr)
