"""The storages behind the identity cache."""

import asyncio
import gc
from typing import Any

import pytest

from gateway.keys.storage import MemoryStorage, Patient, Recent
from tests.support.me_upstream import Clock


class Broken:
    """A storage that raises, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, key: str) -> bytes | None:
        self.asked += 1
        raise ConnectionError("down")

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        self.asked += 1
        raise OSError(28, "No space left on device")

    async def claim(self, key: str, seconds: float) -> bool:
        self.asked += 1
        raise ConnectionError("down")

    async def open(self) -> None:
        await self.get("")

    async def close(self) -> None:
        pass

    async def delete(self, key: str) -> None:
        self.asked += 1
        raise ConnectionError("down")


class Silent:
    """A storage that accepts every call and never answers, not even to its cancellation, until it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.ended = 0

    async def _hang(self) -> None:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        self.ended += 1
        raise ConnectionError("too late")

    async def get(self, key: str) -> bytes | None:
        await self._hang()
        return b"never"

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await self._hang()

    async def claim(self, key: str, seconds: float) -> bool:
        await self._hang()
        return False

    async def open(self) -> None:
        await self.get("")

    async def close(self) -> None:
        pass

    async def delete(self, key: str) -> None:
        await self._hang()


async def test_memory_is_bounded_by_what_was_used_last() -> None:
    """A full memory drops what was not asked for the longest."""
    storage = MemoryStorage(bound=2)
    await storage.set("a", b"1", 60)
    await storage.set("b", b"2", 60)
    await storage.get("a")
    await storage.set("c", b"3", 60)

    assert [b"1", None, b"3"] == [await storage.get(key) for key in "abc"]
    assert 2 == len(storage.entries)


def test_putting_anew_does_not_grow() -> None:
    """The same key takes one place, however often it is written."""
    recent: Recent[int] = Recent(2)
    for value in range(5):
        recent.put("a", value)
    recent.put("b", 0)

    assert (4, 0, 2) == (recent.get("a"), recent.get("b"), len(recent))


async def test_what_is_deleted_is_gone() -> None:
    """A deleted value is a miss, and deleting what is not there is no error."""
    storage = MemoryStorage()
    await storage.set("a", b"1", 60)
    await storage.delete("a")
    await storage.delete("a")

    assert None is await storage.get("a")


async def test_a_working_storage_is_passed_through() -> None:
    """Between the guard and a storage that works nothing is lost."""
    patient = Patient(MemoryStorage())
    await patient.set("a", b"1", 60)
    kept = await patient.get("a")
    await patient.delete("a")

    assert (b"1", None) == (kept, await patient.get("a"))


@pytest.mark.parametrize("call", ["get", "set", "delete"])
async def test_an_error_is_a_miss(call: str) -> None:
    """Whatever a storage raises, whoever asks sees a miss."""
    patient = Patient(Broken())
    arguments: dict[str, tuple[Any, ...]] = {"get": ("a",), "set": ("a", b"1", 60.0), "delete": ("a",)}

    assert None is await getattr(patient, call)(*arguments[call])


async def test_a_storage_that_fails_is_left_alone_for_a_while() -> None:
    """A dead storage costs one request its patience and not every request; ten seconds later it is tried again."""
    clock, broken = Clock(), Broken()
    patient = Patient(broken, clock=clock)
    for _ in range(3):
        await patient.get("a")
    after_failing = broken.asked
    clock.now += 9.9
    await patient.get("a")
    shortly_before = broken.asked
    clock.now += 0.1
    await patient.get("a")

    assert (1, 1, 2) == (after_failing, shortly_before, broken.asked)


async def test_a_storage_that_takes_no_writes_is_read() -> None:
    """A full storage, or a replica that may not be written to, still gives what it has."""

    class Full(MemoryStorage):
        async def set(self, key: str, value: bytes, seconds: float) -> None:
            raise OSError(28, "No space left on device")

    clock, full = Clock(), Full()
    full.entries.put("a", b"1")
    patient = Patient(full, clock=clock)
    await patient.set("b", b"2", 60)

    assert ({"write": "OSError"}, b"1") == (patient.faults, await patient.get("a"))


async def test_silence_rests_reading_and_writing() -> None:
    """What does not answer a question is not asked another one in the same breath: a request waits once."""
    silent = Silent()
    patient = Patient(silent, patience=0.01, clock=Clock())
    async with asyncio.timeout(5):
        await patient.get("a")
        await patient.set("a", b"1", 60)
        claimed = await patient.claim("b", 1)
        calls = len(patient._calls)
        silent.released.set()
        await asyncio.wait(patient._calls)

    assert (True, 1) == (claimed, calls)


async def test_what_fails_is_told_and_that_it_works_again() -> None:
    """Whoever listens learns of each fault, whether it is the first in a row, and when it is over."""
    told: list[Any] = []
    storage, clock = MemoryStorage(), Clock()
    broken: Any = Broken()
    patient = Patient(broken, clock=clock, on_fault=lambda *fault: told.append(fault), on_back=told.append)
    await patient.get("a")
    clock.now += 10
    await patient.get("a")
    await patient.set("a", b"1", 60)
    patient._storage = storage  # type: ignore[misc]
    clock.now += 10
    await patient.get("a")
    await patient.get("a")

    assert [("read", "ConnectionError", True), ("read", "ConnectionError", False), ("write", "OSError", True)] == told[
        :3
    ]
    assert (["read"], {"write": "OSError"}) == (told[3:], patient.faults)


async def test_a_claim_that_cannot_be_made_is_ours() -> None:
    """Where the storage cannot say who asks, everybody does."""
    patient = Patient(Broken(), clock=Clock())

    assert [True, True] == [await patient.claim("a", 1) for _ in range(2)]


async def test_deletions_are_tried_even_while_it_rests() -> None:
    """What must be forgotten is not kept because the storage has just failed."""
    broken = Broken()
    patient = Patient(broken, clock=Clock())
    await patient.get("a")
    await patient.delete("a")

    assert 2 == broken.asked


async def test_silence_is_a_miss() -> None:
    """A storage that never answers nor heeds its cancellation holds nobody up; its late error is no complaint."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    silent = Silent()
    patient = Patient(silent, patience=0.01, clock=Clock())
    async with asyncio.timeout(5):
        missed = await patient.get("a")
        await patient.delete("a")
    still_hanging = silent.ended == 0
    silent.released.set()
    async with asyncio.timeout(5):
        await asyncio.wait(patient._calls)
    gc.collect()

    assert (None, True, 2) == (missed, still_hanging, silent.ended)
    assert [] == complaints


async def test_only_bytes_are_a_value() -> None:
    """A storage that gives something else than bytes has missed."""

    class Odd(MemoryStorage):
        async def get(self, key: str) -> Any:
            return "text"

    assert None is await Patient(Odd()).get("a")


async def test_a_caller_that_leaves_takes_its_question_along() -> None:
    """Cancelling a caller cancels the call to the storage."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStorage):
        async def get(self, key: str) -> bytes | None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return None

    asking = asyncio.create_task(Patient(Slow(), patience=60).get("a"))
    async with asyncio.timeout(5):
        await started.wait()
        asking.cancel()
        await cancelled.wait()

    with pytest.raises(asyncio.CancelledError):
        await asking
