"""Live change: a configuration is loaded whole, checked whole, and then takes the place of the last good one whole."""

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

from msgspec import structs

from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import ConfigSource, counts
from gateway.config.reading.problem import ConfigError
from gateway.net.contents import Contents
from gateway.net.watch import Watcher
from gateway.runtime.adoption import Adoption
from gateway.runtime.facts import today
from gateway.runtime.loading import Loaded, load_after, narrow
from gateway.telemetry.events.process import PolicyChange, Reload, RestartNeeded
from gateway.telemetry.status import ReloadStatus, moment

# Callers whose change is logged one by one; of a rollout that touches thousands, the rest is a number.
_LOGGED: Final = 100

_T = TypeVar("_T")


class Reloads:
    """Watches what a configuration is made of, and has each good change adopted.

    ``seen`` are the contents from before the first load. `Facts.reload` says how the last load went.
    """

    def __init__(self, origin: ConfigSource, seen: Contents, adoption: Adoption) -> None:
        self._origin: Final = origin
        self._adoption: Final = adoption
        self._facts: Final = adoption.facts
        self._emit: Final = adoption.reporter.emit
        self._metrics: Final = adoption.reporter.metrics
        self._loading: Final = asyncio.Lock()
        self._unadopted: set[str] = set()
        self.watcher: Final = Watcher(origin.paths, seen=seen, wanted=counts, emit=self._emit)

    async def run(self) -> None:
        """Take up each change until cancelled."""
        async with contextlib.aclosing(self.watcher.changes()) as changes:
            async for changed in changes:
                await self._changed(changed)

    async def look(self) -> None:
        """Look at once, as SIGHUP asks; what had a fault is loaded again even where no file has changed."""
        if changed := await self.watcher.look():
            await self._changed(changed)
            return
        async with self._loading:  # of a change that `run` has just found
            faulty = bool(self._facts.reload.problems)
        if faulty:
            await self.reload(())
        else:
            self._emit(Reload("unchanged"))

    async def _changed(self, changed: frozenset[str]) -> None:
        # A secret's file alone is for those who watch secrets, unless it may be what a load failed for.
        if self._facts.reload.problems or not changed <= _secret_files(self._facts.snapshot):
            await self.reload(changed)

    async def reload(self, changed: Collection[str]) -> None:
        """Load everything and have it adopted; where it cannot be, tell why, and what is served stays."""
        async with self._loading:
            began, number = time.perf_counter(), self._facts.verifier.begin_reading()
            # What changed beside a mistake, a certificate say, is still to be taken up once that is mended.
            self._unadopted |= {*changed}
            try:
                loaded = await self._in_thread(load_after)
                await self._adoption.adopt(loaded, self._unadopted, number)
            except ConfigError as error:
                self._failed([str(problem) for problem in error.problems])
                await self._narrow()
            except Exception as failure:  # noqa: BLE001 - a fault of our own, reported here; the watch has to go on
                self._failed([_fault(failure)])
            else:
                self._unadopted = set()
                self._succeeded(loaded, time.perf_counter() - began)

    async def _narrow(self) -> None:
        """Take away what the files of the policies no longer grant, though the change as a whole cannot be used."""
        try:
            loaded = await self._in_thread(narrow)
            if loaded is None:
                return
            # Under 0, so that nothing of the keys' secrets that was read since is replaced.
            await self._adoption.adopt(loaded, (), 0)
        except Exception as failure:  # noqa: BLE001 - as in `reload`
            self._failed([*self._facts.reload.problems, _fault(failure)])
        else:
            narrower = {*self._facts.reload.narrowed, *(caller for caller, _ in loaded.changes)}
            self._facts.reload = structs.replace(self._facts.reload, narrowed=tuple(sorted(narrower)))
            self._report_changes(loaded)

    async def _in_thread(self, load: Callable[[Snapshot, ConfigSource, date], _T]) -> _T:
        return await asyncio.to_thread(load, self._facts.snapshot, self._origin, today(self._facts.clock))

    def _failed(self, problems: list[str]) -> None:
        known = set(self._facts.reload.problems)
        since = self._facts.reload.failing_since or moment(self._facts.clock())
        self._facts.reload = structs.replace(
            self._facts.reload, ok=False, problems=tuple(problems), failing_since=since
        )
        self._metrics.config_loaded(ok=False, now=self._facts.clock())
        if fresh := [problem for problem in problems if problem not in known]:
            self._emit(Reload("failure", problems=fresh))

    def _succeeded(self, loaded: Loaded, seconds: float) -> None:
        reported, self._facts.reload = self._facts.reload.restart_needed, ReloadStatus(restart_needed=loaded.restart)
        self._metrics.config_loaded(ok=True, now=self._facts.clock())
        snapshot = loaded.snapshot
        self._emit(Reload("success", len(snapshot.keys), len(snapshot.policies), round(seconds, 3)))
        self._report_changes(loaded)
        if loaded.restart and loaded.restart != reported:
            self._emit(RestartNeeded(", ".join(loaded.restart)))

    def _report_changes(self, loaded: Loaded) -> None:
        for caller, outcome in loaded.changes[:_LOGGED]:
            self._emit(PolicyChange(caller, outcome))
        if (more := len(loaded.changes) - _LOGGED) > 0:
            self._emit(PolicyChange(None, "more", more))


def _fault(failure: Exception) -> str:
    frame = traceback.extract_tb(failure.__traceback__)[-1]
    return f"the gateway failed to load it: {type(failure).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def _secret_files(snapshot: Snapshot) -> set[str]:
    sources = (slot.source for key in snapshot.keys.values() for slot in key.slots)
    return {source.removeprefix("file:") for source in sources if source.startswith("file:")}
