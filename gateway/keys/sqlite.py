"""Answers in an SQLite file, which the next process finds again.

The SQLite backend of aiohttp-client-cache cannot stand in for this: its file has no mode of its own and its entries no
end, it has no claims and repairs nothing, and the thread of ``aiosqlite`` keeps a process alive whose disk hangs.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from gateway.aio.threads import in_daemon_thread
from gateway.aio.waiting import finished
from gateway.core.recent import ENTRIES
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import StoreDamaged

# Shorter than any call waits, so that a file that another process has locked is a fault and not a time-out.
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

_Statement: TypeAlias = tuple[str, tuple[Any, ...]]


class SqliteStore:
    """A table of key, value and the Unix time of its end, in a file that only its owner may read.

    The file is opened at first use, and all work on it is in daemon threads: a hanging disk may hold one for ever, and
    the process does not wait for it. A file that is no SQLite file, or a damaged one, is moved to ``<name>.corrupt``
    and begun anew; ``emit`` gets that. ``wall`` is Unix time in seconds.
    """

    def __init__(
        self, path: Path, *, wall: Callable[[], float] = time.time, entries: int = ENTRIES, emit: Emit = ignore
    ) -> None:
        self._path: Final = path
        self._wall: Final = wall
        self._entries: Final = entries
        self._emit: Final = emit
        self._turn: Final = asyncio.Lock()
        self._connection: sqlite3.Connection | None = None

    async def get(self, key: str) -> bytes | None:
        row = await self._do((_GET, (key, self._wall())))
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        now = self._wall()
        await self._do((_SWEEP, (now,)), (_PUT, (key, value, now + seconds)), (_BOUND, (self._entries,)))

    async def delete(self, key: str) -> None:
        await self._do(("DELETE FROM entries WHERE key = ?", (key,)))

    async def claim(self, key: str, seconds: float) -> bool:
        now = self._wall()
        row = await self._do((_CLAIM, (key, now + seconds, now)), ("SELECT changes()", ()))
        return bool(row[0])

    async def open(self) -> None:
        await self._do()

    async def close(self) -> None:
        """Close the file, and wait for that a moment; a hanging disk keeps the thread and not the process."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._in_turn(self._shut)

    async def _do(self, *statements: _Statement) -> Any:
        """Run statements as one transaction; the row that the last one found."""
        return await self._in_turn(lambda: self._mending(statements))

    async def _in_turn(self, work: Callable[[], Any]) -> Any:
        """Do work in a thread, one piece after the other. Work that is cancelled before its turn is not done."""
        await self._turn.acquire()
        thread = in_daemon_thread(work, "store")
        thread.add_done_callback(lambda _: self._turn.release())
        await finished(thread)
        return thread.result()

    def _mending(self, statements: tuple[_Statement, ...]) -> Any:
        try:
            return self._executed(statements)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # OperationalError is about the disk or a lock. A message that quotes a damaged file cannot be decoded.
            if type(error) not in (sqlite3.DatabaseError, sqlite3.DataError, UnicodeDecodeError):
                raise
        self._put_aside()
        return self._executed(statements)

    def _executed(self, statements: tuple[_Statement, ...]) -> Any:
        row = None
        with self._connection or self._open() as db:
            for statement, values in statements:
                row = db.execute(statement, values).fetchone()
        return row

    def _open(self) -> sqlite3.Connection:
        # SQLite gives the files beside it the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE))
        self._path.chmod(_MODE)
        db = sqlite3.connect(self._path, timeout=_BUSY, check_same_thread=False)
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
        self._emit(StoreDamaged("sqlite", str(aside)))

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
