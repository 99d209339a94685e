"""Answers in an SQLite file, which the next process finds again. The library's own file is public, and pickled."""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from gateway.keys.recent import ENTRIES

# Less than anybody waits for a store, so that a file that another process has locked is a fault and not a silence.
_BUSY: Final = 0.03
_GOODBYE: Final = 0.5
_MODE: Final = 0o600
_TABLE: Final = "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL)"
_GET: Final = "SELECT value FROM entries WHERE key = ? AND until > ?"
_PUT: Final = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"
_CLAIM: Final = (
    "INSERT INTO entries VALUES (?, x'31', ?) ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE until <= ?"
)
_SWEEP: Final = "DELETE FROM entries WHERE until <= ?"
_BOUND: Final = "DELETE FROM entries WHERE key IN (SELECT key FROM entries ORDER BY until DESC LIMIT -1 OFFSET ?)"
_DELETE: Final = "DELETE FROM entries WHERE key = ?"

_Statement = tuple[str, tuple[Any, ...]]
# The row that the last statement found, and how many rows it changed.
_Outcome = tuple[Any, int]


class SqliteStore:
    """A table of key, value and the Unix time of its end, in a file that only its owner may read.

    The file is opened at first use, in a thread of its own: a hanging disk may hold that thread for ever, and the
    process does not wait for it. A file that is no SQLite file, or a damaged one, is moved to ``<name>.corrupt`` and
    begun anew; ``on_aside`` gets that path. ``wall`` is Unix time in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float] = time.time,
        entries: int = ENTRIES,
        on_aside: Callable[[Path], None] = lambda _path: None,
    ) -> None:
        self._path: Final = path
        self._wall: Final = wall
        self._entries: Final = entries
        self._on_aside: Final = on_aside
        self._connection: sqlite3.Connection | None = None
        self._work: Final[queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self, key: str) -> bytes | None:
        row, _ = await self._do((_GET, (key, self._wall())))
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        now = self._wall()
        await self._do((_SWEEP, (now,)), (_PUT, (key, value, now + seconds)), (_BOUND, (self._entries,)))

    async def delete(self, key: str) -> None:
        await self._do((_DELETE, (key,)))

    async def claim(self, key: str, seconds: float) -> bool:
        now = self._wall()
        _, changed = await self._do((_CLAIM, (key, now + seconds, now)))
        return changed == 1

    async def open(self) -> None:
        await self._do()

    async def close(self) -> None:
        """Close the file, which is waited for a moment; a hanging disk keeps the thread and not the process."""
        if self._loop is not None:
            shut: Future[None] = Future()
            self._work.put((shut, self._shut))
            self._work.put(None)
            self._loop = None
            await asyncio.wait({asyncio.wrap_future(shut)}, timeout=_GOODBYE)

    async def _do(self, *statements: _Statement) -> _Outcome:
        """Run statements in the thread, as one transaction. What was given up before its turn came is not run."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._run, name="store", daemon=True).start()
        future: Future[_Outcome] = Future()
        self._work.put((future, lambda: self._mending(statements)))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
                future.set_exception(error)

    def _mending(self, statements: tuple[_Statement, ...]) -> _Outcome:
        try:
            return _executed(self._connection or self._open(), statements)
        except sqlite3.DatabaseError as error:
            # OperationalError among them is about the disk or a lock, and has left the file as it was.
            if type(error) is not sqlite3.DatabaseError:
                raise
        self._put_aside()
        return _executed(self._open(), statements)

    def _open(self) -> sqlite3.Connection:
        # SQLite gives the files beside it the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE))
        self._path.chmod(_MODE)
        db = sqlite3.connect(self._path, timeout=_BUSY, check_same_thread=True)
        try:
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", _TABLE):
                db.execute(statement)
        except BaseException:
            db.close()
            raise
        self._connection = db
        return db

    def _put_aside(self) -> None:
        self._shut()
        aside = self._path.with_name(f"{self._path.name}.corrupt")
        self._path.replace(aside)
        for end in ("-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{end}").unlink(missing_ok=True)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_aside, aside)

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _executed(db: sqlite3.Connection, statements: tuple[_Statement, ...]) -> _Outcome:
    row, changed = None, 0
    with db:
        for statement, values in statements:
            cursor = db.execute(statement, values)
            row, changed = cursor.fetchone(), cursor.rowcount
    return row, changed
