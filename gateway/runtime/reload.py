"""Live change: a configuration is loaded whole, checked whole, and then takes the place of the last good one whole."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Collection
from datetime import date
from pathlib import Path
from typing import Final

from msgspec import structs

from gateway.config.assembly.snapshot import Snapshot
from gateway.config.config_source import ConfigSource, counts
from gateway.config.reading.problem import ConfigError
from gateway.net.contents import Contents
from gateway.net.watch import Watcher
from gateway.runtime.loading import Loaded, load_after, narrow
from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import PolicyChange, Reload, RestartNeeded
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.status import ReloadStatus, moment

# Callers whose change is logged one by one; of a rollout that touches thousands, the rest is a number.
_LOGGED: Final = 100


Adopt = Callable[[Loaded, Collection[str], int], Awaitable[None]]


class Reloads:
    """Watches what a configuration is made of, and has each good change adopted.

    ``running`` gives what is served now. ``begin`` numbers a load before it begins. ``adopt`` is given what was loaded,
    the paths that changed since it was last done, and that number. ``seen`` are the contents from before the first
    load; ``facts`` is what the gateway reports about the last load. ``clock`` is Unix time in seconds.
    """

    def __init__(
        self,
        origin: ConfigSource,
        seen: Contents | None,
        *,
        running: Callable[[], Snapshot],
        begin: Callable[[], int],
        adopt: Adopt,
        today: Callable[[], date],
        emit: Emit,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.facts = ReloadStatus()
        self._origin: Final = origin
        self._running: Final = running
        self._begin: Final = begin
        self._adopt: Final = adopt
        self._today: Final = today
        self._emit: Final = emit
        self._metrics: Final = metrics
        self._clock: Final = clock
        self._loading: Final = asyncio.Lock()
        self._unadopted: set[str] = set()
        self.watcher: Final = Watcher(
            origin.paths,
            self._changed,
            seen=seen,
            wanted=counts,
            emit=emit,
        )

    async def look(self) -> None:
        """Look at once, as SIGHUP asks; what had a fault is loaded again even where no file has changed."""
        if await self.watcher.look():
            return
        if self.facts.problems:
            await self.reload(())
        else:
            self._emit(Reload("unchanged"))

    async def _changed(self, changed: frozenset[str]) -> None:
        # A secret's file alone is for those who watch secrets, unless it may be what a load failed for.
        if self.facts.problems or not changed <= _secret_files(self._running()):
            await self.reload(changed)

    async def reload(self, changed: Collection[str]) -> None:
        """Load everything and have it adopted; where it cannot be, tell why, and what is served stays."""
        async with self._loading:
            began, number = time.perf_counter(), self._begin()
            # What changed beside a mistake, a certificate say, is still to be taken up once that is mended.
            self._unadopted |= {*changed}
            try:
                loaded = await asyncio.to_thread(load_after, self._running(), self._origin, self._today())
                await self._adopt(loaded, self._unadopted, number)
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
            loaded = await asyncio.to_thread(narrow, self._running(), self._origin, self._today())
            if loaded is None:
                return
            # Under 0, so that nothing of the keys' secrets that was read since is replaced.
            await self._adopt(loaded, (), 0)
        except Exception as failure:  # noqa: BLE001 - as in `reload`
            self._failed([*self.facts.problems, _fault(failure)])
        else:
            narrower = {*self.facts.narrowed, *(caller for caller, _ in loaded.changes)}
            self.facts = structs.replace(self.facts, narrowed=tuple(sorted(narrower)))
            self._report_changes(loaded)

    def _failed(self, problems: list[str]) -> None:
        known = set(self.facts.problems)
        since = self.facts.failing_since or moment(self._clock())
        self.facts = structs.replace(self.facts, ok=False, problems=tuple(problems), failing_since=since)
        self._metrics.config_loaded(ok=False, now=self._clock())
        if fresh := [problem for problem in problems if problem not in known]:
            self._emit(Reload("failure", problems=fresh))

    def _succeeded(self, loaded: Loaded, seconds: float) -> None:
        reported, self.facts = self.facts.restart_needed, ReloadStatus(restart_needed=loaded.restart)
        self._metrics.config_loaded(ok=True, now=self._clock())
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
