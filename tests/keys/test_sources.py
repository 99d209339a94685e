"""The files of secrets as they change in practice: replaced, swapped, cut, emptied, removed, readable for others."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.aio.waiting import cancelled, happened
from gateway.config.assembly.snapshot import Key, Slot
from gateway.config.secret_source import SINGLE_FILE
from gateway.core.secret import Secret
from gateway.keys.identity import Identities
from gateway.keys.sources import Sources, read_place
from gateway.telemetry.event import Event
from gateway.telemetry.events.keys import SecretStateChanged
from tests.support.keyrings import keyring_of, slots
from tests.support.me_upstream import A, B, C, Productlane

DEADLINE = 10.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "current"
    put(path, A.reveal())
    return path


def put(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file in place."""
    path.touch(mode)
    path.write_text(text)


def swap(path: Path, text: str) -> None:
    """Put another file in its place, as careful writers do."""
    put(path.with_suffix(".new"), text)
    path.with_suffix(".new").replace(path)


def remove(path: Path) -> None:
    path.unlink()


def permit_to(path: Path, mode: int) -> None:
    path.chmod(mode)


class Watched:
    """A key with watched files, and a way to wait for its changes."""

    def __init__(self, key: Key, identities: Identities) -> None:
        self._changed = asyncio.Event()
        self.changes: list[SecretStateChanged] = []
        self.keyring = keyring_of({"support": key}, identities, prefetch=True, emit=self._tell)
        self.sources = Sources({"support": key}, self.keyring.verifier, settle=0.01)

    def _tell(self, change: Event) -> None:
        if isinstance(change, SecretStateChanged):
            self.changes.append(change)
            self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def shows(self, *states: tuple[str, str, str]) -> None:
        """Wait until the places show these slots, previews and states."""
        await self.until(lambda: list(states) == self.states)

    @property
    def states(self) -> list[tuple[str, str, str]]:
        return [(slot.slot, slot.preview or "", slot.state) for slot in slots(self.keyring)]

    @property
    def faults(self) -> list[str]:
        return [slot.fault or "" for slot in slots(self.keyring)]


@asynccontextmanager
async def watched(identities: Identities, *secrets: tuple[Path, Secret | None]) -> AsyncIterator[Watched]:
    """A key with these files and contents, once no change can be missed any more."""
    slots = tuple(Slot(n, f"file:{path}", secret) for n, (path, secret) in enumerate(secrets, 1))
    it = Watched(Key("support", slots, None), identities)
    work = [asyncio.create_task(it.keyring.verifier.run()), asyncio.create_task(it.sources.run())]
    try:
        async with asyncio.timeout(DEADLINE):
            await it.sources.watcher.watching.wait()
        await it.until(lambda: it.states[0][2] == "active")
        yield it
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        assert [True, True] == [task.cancelled() for task in work]


@pytest.mark.parametrize("write", [put, swap], ids=["in place", "renamed"])
async def test_a_new_file_is_promoted(write: Callable[[Path, str], None], identities: Identities, file: Path) -> None:
    """A secret that is written in place, or by renaming another file over it, serves once it is verified."""
    async with watched(identities, (file, A)) as it:
        write(file, B.reveal())
        await it.shows(("1", "bbbb", "active"), ("replaced", "aaaa", "standby"))
        write(file, C.reveal() + "\n")
        await it.shows(("1", "cccc", "active"), ("replaced", "bbbb", "standby"))


async def test_a_kubernetes_mount_is_followed(identities: Identities, tmp_path: Path) -> None:
    """The kubelet swaps a `..data` link beside a link to the secret, and touches nothing else."""

    def publish(version: str, text: str) -> None:
        (tmp_path / version).mkdir()
        put(tmp_path / version / "current", text, 0o644)
        (tmp_path / "..tmp").symlink_to(version)
        (tmp_path / "..tmp").replace(tmp_path / "..data")

    publish("..2026_1", A.reveal())
    (tmp_path / "current").symlink_to("..data/current")
    async with watched(identities, (tmp_path / "current", A)) as it:
        publish("..2026_2", B.reveal())
        await it.shows(("1", "bbbb", "active"), ("replaced", "aaaa", "standby"))
        publish("..2026_3", C.reveal())
        await it.shows(("1", "cccc", "active"), ("replaced", "bbbb", "standby"))


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "is empty"), ("\n", "is empty"), ("pl_v2_", "is not a v2 key"), ("pl_v1_old-one", "is a v1 key")],
)
async def test_a_broken_file_leaves_memory_alone(text: str, why: str, identities: Identities, file: Path) -> None:
    """Text that is not a key is reported with the file's name; the secret in memory serves until a good one comes."""
    async with watched(identities, (file, A)) as it:
        put(file, text)
        await it.until(lambda: why in it.faults[0])
        broken, faults = it.states, it.faults
        put(file, B.reveal())
        await it.shows(("1", "bbbb", "active"), ("replaced", "aaaa", "standby"))

        assert [("1", "aaaa", "active")] == broken
        assert str(file) in faults[0]
        assert ["", ""] == it.faults


async def test_a_cut_secret_is_not_promoted(productlane: Productlane, identities: Identities, file: Path) -> None:
    """A file cut so that it still looks like a key is refused by `/me`; the whole one is then accepted."""
    cut = B.reveal()[:-4]
    productlane.statuses[cut] = 401
    async with watched(identities, (file, A)) as it:
        put(file, cut)
        await it.shows(("1", "bbbb", "rejected"), ("replaced", "aaaa", "active"))
        put(file, B.reveal())
        await it.shows(("1", "bbbb", "active"), ("replaced", "aaaa", "standby"))


async def test_a_file_that_goes_away(identities: Identities, file: Path) -> None:
    """A deleted file does not take its secret from memory, and one that comes back is read again."""
    async with watched(identities, (file, A)) as it:
        remove(file)
        await it.until(lambda: it.faults[0] == f"the file {file} does not exist")
        gone = it.states
        put(file, B.reveal())
        await it.shows(("1", "bbbb", "active"), ("replaced", "aaaa", "standby"))

        assert [("1", "aaaa", "active")] == gone


async def test_a_disk_that_fails_leaves_memory_alone(identities: Identities, tmp_path: Path) -> None:
    """A file that opens but cannot be read is reported like a broken one, and followed again once it is readable."""
    link = tmp_path / "link"
    link.symlink_to("/proc/self")
    file = link / "mem"  # of a process itself; nothing is mapped where it begins, so reading it is EIO
    async with watched(identities, (file, A)) as it:
        await it.sources.read()
        failing = it.states, it.faults
        (tmp_path / "new").mkdir()
        put(tmp_path / "new" / "mem", B.reveal())
        (tmp_path / ".link").symlink_to("new")
        (tmp_path / ".link").replace(link)
        await it.sources.watcher.look()
        await it.shows(("1", "bbbb", "active"), ("replaced", "aaaa", "standby"))

    assert ([("1", "aaaa", "active")], [f"the file {file} cannot be read: Input/output error"]) == failing


async def test_the_next_file_may_come_later(identities: Identities, file: Path, tmp_path: Path) -> None:
    """A slot without its file is missing, and becomes standby when the file appears."""
    async with watched(identities, (file, A), (tmp_path / "next", None)) as it:
        await it.until(lambda: "does not exist" in it.faults[1])
        before = it.states
        swap(tmp_path / "next", B.reveal())
        await it.shows(("1", "aaaa", "active"), ("2", "bbbb", "standby"))

        assert [("1", "aaaa", "active"), ("2", "", "missing")] == before


async def test_permissions_that_go_wrong(identities: Identities, file: Path) -> None:
    """A file that others may read is reported with the cure. Its secret serves before and after the repair."""
    async with watched(identities, (file, A)) as it:
        permit_to(file, 0o644)
        await it.until(lambda: "can be read by others (mode 0644)" in it.faults[0])
        reported = it.states
        permit_to(file, 0o600)
        await it.until(lambda: it.faults == [""])

        assert [("1", "aaaa", "active")] == reported


async def test_the_same_bytes_are_no_change(productlane: Productlane, identities: Identities, file: Path) -> None:
    """A file that is touched or rewritten with the same secret causes no request."""
    async with watched(identities, (file, A)) as it:
        swap(file, A.reveal())
        os.utime(file)
        await it.sources.read()

        assert [("1", "aaaa", "active")] == it.states
        assert [A.reveal()] == productlane.bearers


async def test_secrets_of_the_environment_stay_as_started(identities: Identities, file: Path) -> None:
    """A secret from the environment stays the same when a file changes."""
    key = Key("support", (Slot(1, f"file:{file}", A), Slot(2, "env:SUPPORT", B)), None)
    it = Watched(key, identities)
    put(file, C.reveal())
    await it.sources.read()

    assert [("1", "cccc"), ("2", "bbbb"), ("replaced", "aaaa")] == [one[:2] for one in it.states]


async def test_without_files_nothing_is_watched(identities: Identities, file: Path) -> None:
    """A gateway with all secrets from the environment watches no file until a reload names one."""
    keyring = keyring_of({}, identities)
    sources = Sources({"support": Key("support", (Slot(1, "env:SUPPORT", A),), None)}, keyring.verifier)
    work = asyncio.create_task(sources.run())
    watching = sources.watcher.watching

    before = await happened(watching, 0.2)
    await sources.adopt({"support": Key("support", (Slot(1, f"file:{file}", A),), None)})
    after = await happened(watching, DEADLINE)
    await cancelled(work)

    assert (False, True) == (before, after)


async def test_the_files_of_another_configuration(identities: Identities, file: Path, tmp_path: Path) -> None:
    """After a reload the files that the new configuration names are read."""
    it = Watched(Key("support", (Slot(1, f"file:{file}", A),), None), identities)
    put(tmp_path / "other", B.reveal())
    other = Key("support", (Slot(1, f"file:{tmp_path / 'other'}", None),), None)
    keyring_of({"support": other}, identities, after=it.keyring)
    await it.sources.adopt({"support": other})

    assert ("1", "bbbb") == it.states[0][:2]


def test_a_file_that_is_mounted_alone_is_told(file: Path) -> None:
    """A secret in a file that is a mount point, as `subPath` makes it, serves with a warning."""
    slot = Slot(1, f"file:{file}", None)
    alone = f"30 25 0:26 / {file} rw shared:5 - ext4 /dev/sda1 rw\n"
    folder = f"30 25 0:26 / {file.parent} rw shared:5 - tmpfs tmpfs rw\n"

    assert (A, SINGLE_FILE) == ((read := read_place(slot, 1, alone)).secret, read.fault)
    assert (A, "") == ((read := read_place(slot, 1, folder)).secret, read.fault)
