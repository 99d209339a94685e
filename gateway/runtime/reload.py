"""Live change: a configuration is loaded whole, checked whole, and then takes the place of the last good one whole."""

import asyncio
import contextlib
import gc
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from msgspec import structs

from gateway.callers.callers import Callers
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.origin import Origin, counts
from gateway.config.reading.problem import ConfigError, Problem, shown
from gateway.config.schema.gateway import Gateway
from gateway.config.schema.values import is_private
from gateway.core.drift import Needs, needs
from gateway.net.contents import Contents
from gateway.net.watch import Watcher
from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import PolicyChange, Reload, RestartNeeded
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.status import ReloadStatus, moment

# Callers whose change is logged one by one; of a rollout that touches thousands, the rest is a number.
_LOGGED: Final = 100
# How long a thread that loads keeps the interpreter while the loop waits for it, in seconds.
_SWITCH: Final = 0.0005


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that is ready to serve, and what is new in it.

    ``changes`` are callers with ``added``, ``changed`` or ``removed``; ``restart`` are settings that stay as they were.
    """

    snapshot: Snapshot
    needs: Needs
    changes: tuple[tuple[str, str], ...] = ()
    restart: tuple[str, ...] = ()


def load_after(running: Snapshot, origin: Origin, today: date) -> Loaded:
    """The configuration as it is now, for a process that runs with another one. It blocks. Raises `ConfigError`."""
    with _beside_the_loop():
        snapshot = origin.load()
        _check_anonymous(running, snapshot)
        restart, snapshot = _as_started(running, snapshot)
        return Loaded(
            snapshot,
            needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, today),
            tuple(_changes(running, snapshot)),
            restart,
        )


def _as_started(running: Snapshot, snapshot: Snapshot) -> tuple[tuple[str, ...], Snapshot]:
    """The settings that need a restart, and the snapshot with what the process was started with in their place."""
    kept = {name: getattr(running.settings, name) for name, one in Gateway.settings.items() if one.at_start}
    restart = tuple(name for name, value in kept.items() if getattr(snapshot.settings, name) != value)
    return restart, replace(snapshot, settings=snapshot.settings.replaced(**kept), store=running.store)


@contextlib.contextmanager
def _beside_the_loop() -> Iterator[None]:
    """Work in a thread that the loop hardly notices; `python -m bench.reload` measures it.

    A search for garbage in what thousands of policies are made of would stop all threads for 100 ms, so there is none
    meanwhile. The loop waits for the interpreter at most half a millisecond at a time, and not 5 ms as by default.
    """
    collected, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collected:
            gc.enable()


def _check_anonymous(running: Snapshot, snapshot: Snapshot) -> None:
    """The file's own check is about the listener that the file asks for; the open one is still the old one."""
    anonymous = snapshot.callers.anonymous
    if anonymous is not None and is_private(snapshot.settings.listen) and not is_private(running.settings.listen):
        address = shown(str(running.settings.listen))
        message = (
            f"others than this machine reach {address} until the restart that `listen` needs, and caller "
            f"{shown(anonymous)} is anonymous"
        )
        raise ConfigError([Problem("running process", 0, "listen", message)])


def _changes(before: Snapshot, after: Snapshot) -> Iterable[tuple[str, str]]:
    old, new = _credentials(before.callers), _credentials(after.callers)
    for caller in sorted(before.policies.keys() | after.policies.keys()):
        if caller not in before.policies:
            yield caller, "added"
        elif caller not in after.policies:
            yield caller, "removed"
        elif before.policies[caller] != after.policies[caller] or old.get(caller) != new.get(caller):
            yield caller, "changed"


def _credentials(callers: Callers) -> dict[str, set[tuple[str, Hashable]]]:
    """What each caller is identified by."""
    found: dict[str, set[tuple[str, Hashable]]] = {}
    for kind, entries in callers.by_kind.items():
        for entry, caller in entries.items():
            found.setdefault(caller, set()).add((kind, entry))
    return found


Adopt = Callable[[Loaded, Collection[str], int], Awaitable[None]]


class Reloads:
    """Watches what a configuration is made of, and has each good change adopted.

    ``running`` gives what is served now. ``begin`` numbers a load before it begins. ``adopt`` is given what was loaded,
    the paths that changed since it was last done, and that number. ``seen`` are the contents from before the first
    load; ``facts`` is what is to be told of the last one. ``clock`` is Unix time in seconds.
    """

    def __init__(
        self,
        origin: Origin,
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
            except Exception as failure:  # noqa: BLE001 - a fault of our own, told here; the watch has to go on
                frame = traceback.extract_tb(failure.__traceback__)[-1]
                place = f"{Path(frame.filename).name}:{frame.lineno}"
                self._failed([f"the gateway failed to load it: {type(failure).__name__} at {place}"])
            else:
                self._unadopted = set()
                self._succeeded(loaded, time.perf_counter() - began)

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
        for caller, outcome in loaded.changes[:_LOGGED]:
            self._emit(PolicyChange(caller, outcome))
        if (more := len(loaded.changes) - _LOGGED) > 0:
            self._emit(PolicyChange(None, "more", more))
        if loaded.restart and loaded.restart != reported:
            self._emit(RestartNeeded(", ".join(loaded.restart)))


def _secret_files(snapshot: Snapshot) -> set[str]:
    sources = (slot.source for key in snapshot.keys.values() for slot in key.slots)
    return {source.removeprefix("file:") for source in sources if source.startswith("file:")}
