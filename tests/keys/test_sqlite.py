"""`gateway.keys.sqlite`: answers in a file."""

# ruff: noqa: ASYNC240 - files on a local disk, which nothing else waits for

import asyncio
import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.keys.sqlite import SqliteStore
from gateway.keys.store import BestEffortStore
from gateway.telemetry.event import Event
from gateway.telemetry.events.keys import StoreDamaged
from tests.support.clock import Clock
from tests.support.deadline import DEADLINE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "identity.db"


@asynccontextmanager
async def storing(file: Path, **more: Any) -> AsyncIterator[SqliteStore]:
    storage = SqliteStore(file, **more)
    try:
        yield storage
    finally:
        await storage.close()


def rows(file: Path) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(file)
    try:
        return db.execute("SELECT key, value, until FROM entries ORDER BY key").fetchall()
    finally:
        db.close()


async def test_a_process_that_starts_anew_finds_what_was_stored(file: Path) -> None:
    """An entry is there for the next process, byte for byte, until it is deleted."""
    value = bytes(range(256))
    async with storing(file) as before:
        await before.set("a", value, 60)
        await before.set("b", b"1", 60)
        await before.delete("b")
    async with storing(file) as after:
        found = [await after.get(key) for key in ("a", "b", "c")]

    assert [value, None, None] == found


async def test_only_its_owner_may_read_the_file(file: Path) -> None:
    """The file and those that SQLite puts beside it have mode 0600, whatever the umask or the mode of before."""
    old = os.umask(0)
    try:
        async with storing(file) as storage:
            await storage.set("a", b"1", 60)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        file.chmod(0o644)
        async with storing(file) as storage:
            await storage.get("a")
    finally:
        os.umask(old)

    assert {"identity.db", "identity.db-wal", "identity.db-shm"} == {*modes}
    assert {0o600} == {*modes.values(), stat.S_IMODE(file.stat().st_mode)}


async def test_what_has_had_its_time_is_gone(file: Path) -> None:
    """An entry is a miss once its seconds are over, and the next write takes it from the file."""
    wall = Clock()
    async with storing(file, wall=wall) as storage:
        await storage.set("a", b"1", 60)
        wall.now += 60
        missed = await storage.get("a")
        await storage.set("b", b"2", 60)

    assert (None, [("b", b"2", 1120.0)]) == (missed, rows(file))


async def test_the_file_is_bounded(file: Path) -> None:
    """However many secrets there have been, the file keeps those that last longest."""
    wall = Clock()
    async with storing(file, wall=wall, entries=2) as storage:
        for key in "abc":
            wall.now += 1
            await storage.set(key, b"1", 60)

    assert ["b", "c"] == [row[0] for row in rows(file)]


async def test_a_claim_is_given_once_and_lapses(file: Path) -> None:
    """Of two processes of one host one gets a claim, until it is deleted or its time is over."""
    wall = Clock()
    async with storing(file, wall=wall) as ours, storing(file, wall=wall) as theirs:
        first = [await ours.claim("a", 2), await theirs.claim("a", 2)]
        wall.now += 2
        lapsed = [await theirs.claim("a", 2), await ours.claim("a", 2)]
        await theirs.delete("a")
        given_up = await ours.claim("a", 2)

    assert ([True, False], [True, False], True) == (first, lapsed, given_up)


DAMAGED = {
    "no database": b"nothing of the kind\n" * 200,
    "a cut one": b"SQLite format 3\0" + bytes(20),
    "garbage inside": b"",
    "a schema that is no text": b"\xff",
}


def damage(file: Path, content: bytes) -> None:
    if len(content) > 1:
        file.write_bytes(content)
        return
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL)")
    db.executemany("INSERT INTO entries VALUES (?, ?, ?)", [(f"{n}", bytes(500), 9e9) for n in range(200)])
    db.commit()
    db.close()
    whole = file.read_bytes()
    if content:
        file.write_bytes(whole.replace(b"CREATE TABLE", b"CREATE \xff\xfeBLE"))
    else:
        file.write_bytes(whole[:1024] + random.Random(1).randbytes(len(whole) - 1024))


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
async def test_a_damaged_file_is_moved_aside_and_begun_anew(file: Path, content: bytes) -> None:
    """A broken file is moved aside, and the report says where to."""
    damage(file, content)
    before, reported = file.read_bytes(), list[Event]()
    async with storing(file, emit=reported.append) as storage:
        await storage.get("a")
        await storage.set("a", b"1", 60)
        found = await storage.get("a")

    assert b"1" == found
    aside = file.with_name("identity.db.corrupt")
    assert [StoreDamaged("sqlite", str(aside))] == reported
    assert len(before) == aside.stat().st_size


async def test_another_programs_database_is_left_alone(file: Path) -> None:
    """A path to another program's database is reported as a fault, and that database stays as it is."""
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE entries (id INTEGER, precious TEXT)")
    db.execute("INSERT INTO entries VALUES (1, 'data')")
    db.commit()
    db.close()
    guard = BestEffortStore(SqliteStore(file), timeout=DEADLINE, clock=Clock())
    await guard.get("a")
    await guard.set("a", b"1", 60)
    await guard.close()
    db = sqlite3.connect(file)
    kept = db.execute("SELECT * FROM entries").fetchall()
    db.close()

    assert ({"read": "SQLITE_ERROR", "write": "SQLITE_ERROR"}, [(1, "data")]) == (guard.faults, kept)


async def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    """The gateway follows no link: it neither writes to the linked file nor changes its permissions."""
    other = tmp_path / "other"
    other.write_text("of somebody else")
    other.chmod(0o644)
    file.symlink_to(other)
    guard = BestEffortStore(SqliteStore(file), timeout=DEADLINE, clock=Clock())
    await guard.set("a", b"1", 60)
    await guard.close()

    assert {"write": "OSError"} == guard.faults
    assert ("of somebody else", 0o644) == (other.read_text(), stat.S_IMODE(other.stat().st_mode))


async def test_a_folder_that_is_not_there_is_a_fault_and_no_more(tmp_path: Path) -> None:
    """A volume that was not mounted costs no request; once it is there, it is used."""
    clock = Clock()
    guard = BestEffortStore(SqliteStore(tmp_path / "later" / "identity.db"), timeout=DEADLINE, clock=clock)
    missed = await guard.get("a"), {**guard.faults}
    (tmp_path / "later").mkdir()
    clock.now += 10
    await guard.set("a", b"1", 60)
    found = await guard.get("a")
    await guard.close()

    assert ((None, {"read": "FileNotFoundError"}), b"1") == (missed, found)


async def test_a_locked_file_is_a_fault_within_the_patience(file: Path) -> None:
    """If another process holds the lock, a write fails at once and reads continue."""
    guard = BestEffortStore(SqliteStore(file), timeout=DEADLINE, clock=Clock())
    await guard.set("a", b"1", 60)
    holder = sqlite3.connect(file, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        await guard.set("b", b"2", 60)
        found = await guard.get("a")
    finally:
        holder.close()
        await guard.close()

    assert ({"write": "SQLITE_BUSY"}, b"1") == (guard.faults, found)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A tmpfs of 256 kB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, timeout=60
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=60)


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


async def test_a_full_disk_is_read(tmp_path: Path) -> None:
    """On a full disk writes fail and reads continue."""
    with small_disk(tmp_path / "disk") as disk:
        guard = BestEffortStore(SqliteStore(disk / "identity.db"), timeout=DEADLINE, clock=Clock())
        await guard.set("a", b"1", 1e9)
        fill(disk)
        await guard.set("b", bytes(20_000), 1e9)
        found = await guard.get("a")
        await guard.close()

    assert b"1" == found
    assert {"write"} == {*guard.faults}
    assert guard.faults["write"] in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")


@pytest.mark.slow
async def test_a_disk_that_hangs_holds_nobody_up(file: Path) -> None:
    """Writes that timed out while the disk hung are not done later, and the end does not wait for the disk."""
    release, hanging = threading.Event(), threading.Event()

    class Hanging(SqliteStore):
        def _mending(self, statements: Any) -> Any:
            if statements:
                hanging.set()
                release.wait(DEADLINE)
            return super()._mending(statements)

    async with storing(file) as before:
        await before.set("b", b"1", 1e6)
    storage = Hanging(file)
    guard = BestEffortStore(storage, timeout=0.1, clock=Clock())
    async with asyncio.timeout(DEADLINE):
        await guard.open(DEADLINE)
        await guard.get("a")
        assert hanging.is_set()
        await guard.delete("b")
        await guard.close()
    release.set()
    thread = [one for one in threading.enumerate() if one.name == "store"]
    for one in thread:
        await asyncio.to_thread(one.join, DEADLINE)

    assert {"read": "no answer in 100 ms", "write": "no answer in 100 ms"} == guard.faults
    assert [True] == [one.daemon for one in thread]
    assert ["b"] == [key for key, _, _ in rows(file)]


async def test_nothing_is_opened_before_the_first_question(file: Path) -> None:
    """Making and closing a storage touches no disk."""
    async with storing(file):
        pass

    assert not file.exists()
