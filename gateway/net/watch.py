"""Files watched by their content, so that a change is told once, and whole.

Folders are watched, never files: Kubernetes swaps the ``..data`` link beside a file, and editors rename another file
into its place. A notice only says that it is time to look. What counts is what the files then hold: a touched file, or
one written anew with the same bytes, has not changed. A file that is being written is waited for until it rests; a
writer that pauses for longer than that in the middle of a file had better write another one and rename it.

No notice comes from network mounts, from a link that is swapped further up a path, and past the kernel's limits, so
everything is looked at from time to time as well.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from gateway.aio.waiting import finished, happened
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.process import WatchBlind

# Each path to a digest of its bytes and permissions; None where nothing can be read there.
Contents: TypeAlias = Mapping[Path, bytes | None]

# Times in seconds. Two readings that agree, with this pause between, are a file at rest.
SETTLE: Final = 0.1
POLL: Final = 30.0
# How often to look where the kernel gives no notice at all.
_BLIND_POLL: Final = 5.0
# Files that never rest are taken as they are after so many readings: 5 seconds.
_READINGS: Final = 50
# What one notice gathers, and how soon the watching thread heeds its end; milliseconds.
_GATHER_MS: Final = 50
_STEP_MS: Final = 20
# Larger than any configuration; the rest of a larger file is not looked at.
_LONGEST: Final = 16 << 20


def visible(name: str) -> bool:
    """Whether a file in a watched folder counts. Hidden ones are those of editors and of Kubernetes' own workings."""
    return not name.startswith(".")


def read_contents(paths: Iterable[Path], wanted: Callable[[str], bool] = visible) -> Contents:
    """What the paths hold now. A folder stands for the files in it whose names are wanted, not for folders in it."""
    found: dict[Path, bytes | None] = {}
    for path in paths:
        try:
            inside = list(path.iterdir())
        except OSError:
            found[path] = _digest(path)
        else:
            found[path] = b""
            found.update({file: _digest(file) for file in inside if wanted(file.name)})
    return found


def _digest(path: Path) -> bytes | None:
    try:
        # Non-blocking, so that a pipe put in a file's place cannot hold the thread up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return None
        # Permissions count: to take them away from others is how the complaint about a secret's file is met.
        digest = hashlib.blake2b(b"%o " % stat.S_IMODE(facts.st_mode), digest_size=16)
        left = _LONGEST
        while left > 0 and (data := os.read(descriptor, min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
        return digest.digest()
    except OSError:
        return None
    finally:
        os.close(descriptor)


class Watcher:
    """Calls ``on_change`` with the paths whose content changed, once they rest; one call at a time.

    ``paths`` is asked before each reading, in a thread, so what is watched may follow from what is in the files.
    ``seen`` are the contents that are known already, read *before* whatever was made of them; without it, they are read
    first. ``settle`` and ``poll`` are seconds, ``pause`` waits for the former. Reported is
    when the kernel gives no notice, so that only looking from time to time is left. ``watching`` is set once no
    further change can be missed.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[Path]],
        on_change: Callable[[frozenset[Path]], Awaitable[None]],
        *,
        seen: Contents | None = None,
        wanted: Callable[[str], bool] = visible,
        settle: float = SETTLE,
        poll: float = POLL,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        emit: Emit = ignore,
    ) -> None:
        self._paths: Final = paths
        self._on_change: Final = on_change
        self._seen = seen
        self._wanted: Final = wanted
        self.settle = settle
        self._poll: Final = poll
        self._pause: Final = pause
        self._emit: Final = emit
        self._noticed: Final = asyncio.Event()
        self._looking: Final = asyncio.Lock()
        self._folders: Folders | None = None
        self._notices: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._blind = False
        self.watching: Final = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled. What ``on_change`` raises ends it."""
        # Imported in a thread: 40 ms that the loop need not stand still for.
        await asyncio.to_thread(__import__, "watchfiles")
        if self._seen is None:
            self._seen = await asyncio.to_thread(self._read)
        try:
            while True:
                self._noticed.clear()
                await self._listen()
                self.watching.set()
                await self.look()
                await happened(self._noticed, min(self._poll, _BLIND_POLL) if self._blind else self._poll)
        finally:
            await self._hush()

    async def look(self) -> bool:
        """Look now; whether there was a change, which has then been told."""
        async with self._looking:
            contents = await self._at_rest()
            before, self._seen = self._seen, contents
            if before is None or contents == before:
                return False
            absent = object()
            paths = before.keys() | contents.keys()
            await self._on_change(
                frozenset(path for path in paths if before.get(path, absent) != contents.get(path, absent))
            )
            return True

    def _read(self) -> Contents:
        return read_contents(self._paths(), self._wanted)

    async def _at_rest(self) -> Contents:
        contents = await asyncio.to_thread(self._read)
        if contents == self._seen:
            return contents
        for _ in range(_READINGS):
            await self._pause(self.settle)
            before, contents = contents, await asyncio.to_thread(self._read)
            if contents == before:
                break
        return contents

    async def _listen(self) -> None:
        """Have notices come from the folders as they are now; one that was made anew is another folder."""
        folders = await asyncio.to_thread(lambda: Folders(self._paths(), self._wanted))
        if folders == self._folders and self._notices is not None and not self._notices.done():
            return
        await self._hush()
        self._folders, self._stop = folders, asyncio.Event()
        self._notices = asyncio.create_task(self._heed(folders, self._stop))
        # The first step of the task asks the kernel; what changes from here on is noticed.
        await asyncio.sleep(0)

    async def _heed(self, folders: "Folders", stop: asyncio.Event) -> None:
        from watchfiles import awatch

        notices = awatch(
            *folders.roots,
            watch_filter=lambda _change, path: folders.concerns(path),
            debounce=_GATHER_MS,
            step=_STEP_MS,
            stop_event=stop,
            recursive=False,
            ignore_permission_denied=True,
        )
        try:
            async for _ in notices:
                self._noticed.set()
        except (OSError, RuntimeError) as error:
            # A limit of the kernel (fs.inotify), or a folder that went away this moment.
            if not self._blind:
                self._emit(WatchBlind(type(error).__name__))
            self._blind = True
        else:
            self._blind = False

    async def _hush(self) -> None:
        self._stop.set()
        if self._notices is not None:
            await finished(self._notices)
            self._notices = None


class Folders:
    """The folders to have notices from, for some paths as they are now, and which notices concern them.

    ``roots`` are the folders of the paths, the paths that are folders, and both for what links lead to.
    """

    def __init__(self, paths: Iterable[Path], wanted: Callable[[str], bool] = visible) -> None:
        self._wanted: Final = wanted
        # Not `Path.resolve` and `Path.is_dir`, which raise at links in a circle and where a folder may not be read.
        self._paths: Final = {place for path in paths for place in (path.absolute(), Path(os.path.realpath(path)))}
        self._inside: Final = {path for path in self._paths if os.path.isdir(path)}  # noqa: PTH112
        roots = {path.parent for path in self._paths} | self._inside
        self._known: Final = {root: facts for root in roots if (facts := _identity(root)) is not None}

    @property
    def roots(self) -> tuple[Path, ...]:
        return tuple(sorted(self._known))

    def concerns(self, text: str) -> bool:
        """Whether a notice about this path is one about what is watched. ``..data`` always is: Kubernetes swaps it."""
        path = Path(text)
        return (
            path in self._paths
            or (path.parent in self._inside and self._wanted(path.name))
            or path.name.startswith("..")
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folders) and (self._known, self._paths, self._inside) == (
            other._known,
            other._paths,
            other._inside,
        )

    def __hash__(self) -> int:
        return hash(self.roots)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
