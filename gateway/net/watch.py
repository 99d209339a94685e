"""Watches the contents of files, and reports each change once, when it is complete.

A notice of the kernel only says that it is time to read. The contents decide: a touched file, or one that is rewritten
with the same bytes, has not changed. A file that is being written is read again until it rests. A writer that may pause
in the middle of a file should write another file and rename it.

Network mounts give no notices, nor does a kernel at its limits, so all files are read from time to time as well.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from gateway.aio.waiting import happened
from gateway.net.contents import Contents, Digests, visible
from gateway.net.inotify import Inotify
from gateway.net.places import places
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.process import WatchBlind

# Times in seconds. Two readings that agree, with this pause between, are a file at rest.
SETTLE: Final = 0.1
POLL: Final = 30.0
# How often to look where the kernel gives no notice at all.
_BLIND_POLL: Final = 5.0
# Files that never rest are taken as they are after so many readings: 5 seconds.
_READINGS: Final = 50


class Watcher:
    """Finds the paths whose content changed, once they rest. Each change is found once, by `changes` or by `look`.

    ``paths`` is called before each reading, in a thread, so the paths may depend on what the files say. ``seen`` are
    contents from *before* the caller read the files; without it, `changes` reads them first. ``settle`` and ``poll``
    are seconds; ``pause`` waits for ``settle``. ``emit`` gets the event that the kernel gives no notices. ``watching``
    is set once no further change can be missed.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[Path]],
        *,
        seen: Contents | None = None,
        wanted: Callable[[str], bool] = visible,
        settle: float = SETTLE,
        poll: float = POLL,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        emit: Emit = ignore,
        notices: Callable[[asyncio.Event], Inotify] = Inotify,
    ) -> None:
        self._paths: Final = paths
        self._seen = seen
        self._wanted: Final = wanted
        self.settle = settle
        self._poll: Final = poll
        self._pause: Final = pause
        self._emit: Final = emit
        self._open_notices: Final = notices
        self._digests: Final = Digests()
        self._noticed: Final = asyncio.Event()
        self._looking: Final = asyncio.Lock()
        self._notices: Inotify | None = None
        self._blind = False
        self.watching: Final = asyncio.Event()

    async def changes(self) -> AsyncGenerator[frozenset[str], None]:
        """The changed paths of each change, without end. For one task, which closes it (`contextlib.aclosing`)."""
        if self._seen is None:
            self._seen = await asyncio.to_thread(self._read)
        try:
            while True:
                self._noticed.clear()
                if changed := await self._look(self._notices_or_none()):
                    yield changed
                await happened(self._noticed, min(self._poll, _BLIND_POLL) if self._blind else self._poll)
        finally:
            if self._notices is not None:
                self._notices.close()

    async def look(self) -> frozenset[str]:
        """Read the files now. Returns the changed paths, which `changes` then does not give again."""
        return await self._look(None)

    async def _look(self, notices: Inotify | None) -> frozenset[str]:
        """As `look`; with ``notices``, the kernel reports changes from just before the reading on."""
        async with self._looking:
            contents = await self._at_rest(notices)
            before, self._seen = self._seen, contents
            if before is None:
                return frozenset()
            absent = object()
            paths = before.keys() | contents.keys()
            return frozenset(path for path in paths if before.get(path, absent) != contents.get(path, absent))

    def _read(self) -> Contents:
        return self._digests.read(self._paths(), self._wanted)

    def _listen_and_read(self, notices: Inotify) -> tuple[Contents, OSError | None]:
        """Watch the folders as they are now, then read. A folder that was made anew is another folder."""
        try:
            notices.watch(places(self._paths(), self._wanted))
        except OSError as error:
            return self._read(), error
        return self._read(), None

    async def _at_rest(self, notices: Inotify | None) -> Contents:
        if notices is None:
            contents = await asyncio.to_thread(self._read)
        else:
            contents, error = await asyncio.to_thread(self._listen_and_read, notices)
            self._blinded(error)
        self.watching.set()
        if contents == self._seen:
            return contents
        for _ in range(_READINGS):
            await self._pause(self.settle)
            before, contents = contents, await asyncio.to_thread(self._read)
            if contents == before:
                break
        return contents

    def _notices_or_none(self) -> Inotify | None:
        if self._notices is None:
            try:
                self._notices = self._open_notices(self._noticed)
            except OSError as error:
                self._blinded(error)
        return self._notices

    def _blinded(self, error: OSError | None) -> None:
        if error is not None and not self._blind:
            self._emit(WatchBlind(error.strerror or type(error).__name__))
        self._blind = error is not None
