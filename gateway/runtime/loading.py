"""Loading the configuration in a thread, for a process that serves another one meanwhile."""

import contextlib
import gc
import sys
from collections.abc import Hashable, Iterable, Iterator
from datetime import date
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.callers.callers import Callers
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import ConfigSource
from gateway.config.reading.problem import ConfigError, Problem, shown
from gateway.config.schema.gateway import Gateway
from gateway.config.schema.values import is_private
from gateway.core.drift import Needs, needs

# How long a thread that loads keeps the interpreter while the loop waits for it, in seconds.
_SWITCH: Final = 0.0005
# So many searches in younger objects are to come before one in all.
_NEVER: Final = 2**31 - 1


class Loaded(msgspec.Struct, frozen=True):
    """A configuration that is ready to serve, and what is new in it.

    ``changes`` are callers with ``added``, ``changed`` or ``removed``; ``restart`` are settings that stay as they were.
    """

    snapshot: Snapshot
    needs: Needs
    changes: tuple[tuple[str, str], ...] = ()
    restart: tuple[str, ...] = ()


def load_after(running: Snapshot, origin: ConfigSource, today: date) -> Loaded:
    """The configuration as it is now, for a process that runs with another one. It blocks. Raises `ConfigError`."""
    with _beside_the_loop():
        snapshot = origin.load()
        _check_anonymous(running, snapshot)
        restart, snapshot = _as_started(running, snapshot)
        return _loaded(running, snapshot, today, restart)


def narrow(running: Snapshot, origin: ConfigSource, today: date) -> Loaded | None:
    """What is to serve while a change cannot be used: less than before, or None where nothing is taken away.

    It blocks.
    """
    with _beside_the_loop():
        snapshot = origin.narrowed(running)
        return None if snapshot is running else _loaded(running, snapshot, today, ())


def _loaded(running: Snapshot, snapshot: Snapshot, today: date, restart: tuple[str, ...]) -> Loaded:
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

    A search for garbage in everything would stop all threads for 100 ms, so there is none meanwhile. Searches in what
    was made last go on, 0.2 to 1 ms each: put off to the end, a first one of all that was loaded takes 12 ms. The loop
    waits for the interpreter at most half a millisecond at a time, and not 5 ms as by default.
    """
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(*thresholds[:2], _NEVER)
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


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
