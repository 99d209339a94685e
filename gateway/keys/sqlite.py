"""Answers in an SQLite file, which a process that starts anew finds again.

`aiohttp_client_cache.backends.sqlite` is not used: it pickles whole responses, their request's ``Authorization``
included, into a file that everybody may read, and lets a full disk fail a request.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.keys.storage import ENTRIES, Clock

_T = TypeVar("_T")

# Less than anybody waits for a storage, so that a file that another process has locked is a fault and not a silence.
_BUSY: Final = 0.03
_GOODBYE: Final = 0.5
_MODE: Final = 0o600
_TABLE: Final = "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL)"
_PUT: Final = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"
_CLAIM: Final = (
    "INSERT INTO entries VALUES (?, x'31', ?) ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE until <= ?"
)
_SWEEP: Final = "DELETE FROM entries WHERE until <= ?"
_BOUND: Final = "DELETE FROM entries WHERE key IN (SELECT key FROM entries ORDER BY until DESC LIMIT -1 OFFSET ?)"


class SqliteStorage:
    """A table of key, value and the Unix time of its end, in a file that only its owner may read.

    The file is opened at first use, in a thread of its own that a hanging disk may hold for ever without the process
    waiting for it. One that is no SQLite file, or a damaged one, is moved aside to ``<name>.corrupt`` and begun anew,
    which ``on_aside`` is told with that path. ``wall`` is Unix time in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        wall: Clock = time.time,
        entries: int = ENTRIES,
        on_aside: Callable[[Path], None] = lambda _path: None,
    ) -> None:
        self._path: Final = path
        self._wall: Final = wall
        self._entries: Final = entries
        self._on_aside: Final = on_aside
        self._connection: sqlite3.Connection | None = None
        self._work: Final[queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self, key: str) -> bytes | None:
        query = "SELECT value FROM entries WHERE key = ? AND until > ?"
        row = await self._do(lambda db: db.execute(query, (key, self._wall())).fetchone())
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        def put(db: sqlite3.Connection) -> None:
            now = self._wall()
            with db:
                db.execute(_SWEEP, (now,))
                db.execute(_PUT, (key, value, now + seconds))
                db.execute(_BOUND, (self._entries,))

        await self._do(put)

    async def delete(self, key: str) -> None:
        def drop(db: sqlite3.Connection) -> None:
            with db:
                db.execute("DELETE FROM entries WHERE key = ?", (key,))

        await self._do(drop)

    async def claim(self, key: str, seconds: float) -> bool:
        def claim(db: sqlite3.Connection) -> bool:
            now = self._wall()
            with db:
                return db.execute(_CLAIM, (key, now + seconds, now)).rowcount == 1

        return await self._do(claim)

    async def open(self) -> None:
        await self._do(lambda _: None)

    async def close(self) -> None:
        """Close the file, which is waited for a moment; a hanging disk keeps the thread and not the process."""
        if self._thread is not None:
            shut: Future[None] = Future()
            self._work.put((shut, self._shut))
            self._work.put(None)
            self._thread = None
            await asyncio.wait({asyncio.wrap_future(shut)}, timeout=_GOODBYE)

    async def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do something in the thread. Of what was given up before its turn came, nothing is done."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()
        future: Future[_T] = Future()
        self._work.put((future, lambda: self._with(work)))
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

    def _with(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return work(self._connection or self._open())
        except sqlite3.DatabaseError as error:
            # OperationalError among them is about the disk or a lock, and has left the file as it was.
            if type(error) is not sqlite3.DatabaseError:
                raise
        self._put_aside()
        return work(self._open())

    def _open(self) -> sqlite3.Connection:
        # SQLite gives the files beside it the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE))
        self._path.chmod(_MODE)
        db = sqlite3.connect(self._path, timeout=_BUSY, check_same_thread=True)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(_TABLE)
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
