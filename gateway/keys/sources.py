"""Reads the files of secrets again while the gateway runs. Secrets from the environment never change."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.assembly.snapshot import Key, Slot
from gateway.config.secret_source import SINGLE_FILE, MissingSecret, is_mounted_alone, mountinfo, read_secret
from gateway.core.promotion import Read
from gateway.core.secret import BadSecret
from gateway.keys.verifier import KeyVerifier
from gateway.net.watch import Watcher

# Seconds until a change is seen that the kernel gives no notice of.
POLL: Final = 10.0


class Sources:
    """Reads the files of secrets whenever they change, and gives their secrets to a `KeyVerifier`.

    A file that cannot be used (gone, empty, cut, readable by others) is a fault of its slot, and the secret in memory
    stays. Run `run` as a task; ``settle`` and ``poll`` are seconds, as for `Watcher`.
    """

    def __init__(
        self, keys: Mapping[str, Key], verifier: KeyVerifier, *, settle: float = 0.05, poll: float = POLL
    ) -> None:
        self._keys = keys
        self._verifier: Final = verifier
        self._reading: Final = asyncio.Lock()
        # Set once a secret is in a file: before that there is nothing to watch.
        self._some: Final = asyncio.Event()
        self.watcher: Final = Watcher(self._paths, seen={}, settle=settle, poll=poll)
        self._begin_with_files()

    async def run(self) -> None:
        """Read the files after each change until cancelled."""
        await self._some.wait()
        async with contextlib.aclosing(self.watcher.changes()) as changes:
            async for _ in changes:
                await self.read()

    async def adopt(self, keys: Mapping[str, Key]) -> None:
        """Read the files of these keys from now on."""
        self._keys = keys
        self._begin_with_files()
        await self.read()

    async def read(self) -> None:
        """Read every file now."""
        async with self._reading:
            keys, number = self._keys, self._verifier.begin_reading()
            for name, reads in (await asyncio.to_thread(read_all, keys, number)).items():
                self._verifier.reread(name, reads)

    def _begin_with_files(self) -> None:
        if self._paths():
            self._some.set()

    def _paths(self) -> list[Path]:
        return [Path(file) for key in self._keys.values() for file in map(_file, key.slots) if file]


def read_all(keys: Mapping[str, Key], number: int) -> dict[str, tuple[Read, ...]]:
    """Read every slot of all keys that have files. It blocks."""
    mounts = mountinfo()
    return {
        name: tuple(read_place(slot, number, mounts) for slot in key.slots)
        for name, key in keys.items()
        if any(map(_file, key.slots))
    }


def read_place(slot: Slot, number: int, mounts: str) -> Read:
    """Read one slot. A slot of the environment still has its secret from the start."""
    place = str(slot.place)
    path = _file(slot)
    if not path:
        return Read(place, slot.source, slot.secret, number=number)
    try:
        secret = read_secret(slot.source, {})
    except MissingSecret as error:
        return Read(place, slot.source, None, str(error), number)
    except BadSecret as error:
        return Read(place, slot.source, None, f"the file {path} {error}", number)
    return Read(place, slot.source, secret, SINGLE_FILE if is_mounted_alone(slot.source, mounts) else "", number)


def _file(slot: Slot) -> str:
    kind, _, name = slot.source.partition(":")
    return name if kind == "file" else ""
