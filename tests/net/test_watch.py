"""`gateway.net.watch`: each change of a file's content is reported once and whole, however it is made."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gateway.net.contents import Digests, read_contents, visible
from gateway.net.inotify import Inotify
from gateway.net.places import places
from gateway.net.watch import Watcher
from gateway.telemetry.event import Event
from gateway.telemetry.events.process import WatchBlind
from tests.support.deadline import DEADLINE


class Recorder:
    """The reports of a watcher, and a way to wait for them."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.changes: list[frozenset[str]] = []
        self._came = asyncio.Event()

    async def run(self) -> None:
        async with contextlib.aclosing(self._watcher.changes()) as changes:
            async for changed in changes:
                self.changes.append(frozenset(Path(path).name for path in changed))
                self._came.set()

    async def once(self) -> frozenset[str]:
        """The next change."""
        async with asyncio.timeout(DEADLINE):
            await self._came.wait()
        self._came.clear()
        return self.changes[-1]


Watch = Callable[..., Awaitable[Recorder]]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Start watchers: ``recorder = await watch(path, …)``. By default only kernel notices wake them."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(*paths: Path, **settings: Any) -> Recorder:
            find: Callable[[], Iterable[Path]] = settings.pop("find", lambda: paths)
            watcher = Watcher(find, **{"poll": 3600.0, "settle": 0.01, **settings})
            recorder = Recorder(watcher)
            task = asyncio.create_task(recorder.run())

            async def end() -> None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

            stack.push_async_callback(end)
            async with asyncio.timeout(DEADLINE):
                await watcher.watching.wait()
            return recorder

        yield begin


async def test_a_change_of_a_file_is_told(tmp_path: Path, watch: Watch) -> None:
    """A file that is rewritten in place is noticed."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    recorder = await watch(file)

    file.write_text("two")

    assert {"a.yaml"} == await recorder.once()


async def test_an_editor_that_renames_is_noticed(tmp_path: Path, watch: Watch) -> None:
    """A file that is replaced by a rename, as editors do, is noticed through its folder."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    recorder = await watch(file)

    for text in ("two", "three"):
        (tmp_path / ".a.yaml.swp").write_text(text)
        (tmp_path / ".a.yaml.swp").replace(file)

        assert {"a.yaml"} == await recorder.once()


async def test_a_file_that_comes_and_goes_is_noticed(tmp_path: Path, watch: Watch) -> None:
    """A secret that is not there yet is seen when it is put there, and missed when it is taken away."""
    file = tmp_path / "key"
    recorder = await watch(file)

    file.write_text("one")
    assert {"key"} == await recorder.once()
    file.unlink()
    assert {"key"} == await recorder.once()


async def test_kubernetes_swap_is_noticed(tmp_path: Path, watch: Watch) -> None:
    """The kubelet renames another link onto ``..data``; neither the file nor its own link is touched."""
    mount = tmp_path / "mount"
    for version in ("v1", "v2", "v3"):
        folder = mount / f"..{version}"
        folder.mkdir(parents=True)
        (folder / "a.yaml").write_text(version)
    (mount / "..data").symlink_to("..v1")
    (mount / "a.yaml").symlink_to("..data/a.yaml")
    recorder = await watch(mount / "a.yaml")

    for version in ("v2", "v3"):
        (mount / "..data_tmp").symlink_to(f"..{version}")
        (mount / "..data_tmp").replace(mount / "..data")

        assert {"a.yaml"} == await recorder.once()


async def test_a_folder_is_all_its_visible_files(tmp_path: Path, watch: Watch) -> None:
    """A policy that is added, changed or removed is a change; an editor's hidden file is not."""
    recorder = await watch(tmp_path)

    (tmp_path / ".hidden.swp").write_text("x")
    (tmp_path / "new.yaml").write_text("one")
    assert {"new.yaml"} == await recorder.once()
    (tmp_path / "new.yaml").unlink()
    assert {"new.yaml"} == await recorder.once()


async def test_a_folder_that_is_replaced_goes_on_being_watched(tmp_path: Path, watch: Watch) -> None:
    """A deployment that renames a whole folder into place is followed, and so are changes in the new one."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").write_text("one")
    recorder = await watch(folder)

    other = tmp_path / "other"
    other.mkdir()
    (other / "a.yaml").write_text("two")
    folder.rename(tmp_path / "old")
    other.rename(folder)
    seen = await recorder.once()
    while "a.yaml" not in seen:
        seen |= await recorder.once()
    before = len(recorder.changes)
    (folder / "a.yaml").write_text("three")
    await recorder.once()

    assert {"a.yaml"} == recorder.changes[before]


async def test_the_same_bytes_are_no_change(tmp_path: Path, watch: Watch) -> None:
    """A touched file, or one rewritten with the same content, causes no reload."""
    file, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    file.write_text("one")
    recorder = await watch(file, other)

    file.write_text("one")
    os.utime(file, (1, 1))
    other.write_text("a sign that notices have come")
    await recorder.once()

    assert [{"b.yaml"}] == recorder.changes


async def test_permissions_are_content(tmp_path: Path, watch: Watch) -> None:
    """`chmod 600`, which is what the complaint about a secret's file asks for, takes effect without more."""
    file = tmp_path / "key"
    file.write_text("one")
    file.chmod(0o644)
    recorder = await watch(file)

    file.chmod(0o600)

    assert {"key"} == await recorder.once()


async def test_a_file_in_two_halves_is_told_whole(tmp_path: Path, watch: Watch) -> None:
    """A writer that pauses in the middle of a file does not have its first half judged."""
    file = tmp_path / "a.yaml"
    file.write_text("")
    halves = ["one\n", "one\ntwo\n"]

    async def pause(_seconds: float) -> None:
        if halves:
            file.write_text(halves.pop(0))

    watcher = Watcher(lambda: [file], seen={str(file): b"something else"}, pause=pause)
    changed = await watcher.look()

    assert {str(file)} == changed
    assert "one\ntwo\n" == file.read_text()


async def test_a_file_that_never_rests_does_not_keep_the_rest_waiting(tmp_path: Path) -> None:
    """Something that is written all the time delays a reload for a few seconds, not for ever."""
    file = tmp_path / "a.yaml"
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        file.write_text(str(len(pauses)))

    watcher = Watcher(lambda: [file], seen={str(file): b"something else"}, settle=0.1, pause=pause)
    changed = await watcher.look()

    assert {str(file)} == changed
    assert sum(pauses) == pytest.approx(5.0)


async def test_what_changed_before_the_watch_began_is_told(tmp_path: Path, watch: Watch) -> None:
    """A change between the first load and the watch is not lost, because contents are read before they are loaded."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    seen = read_contents([file])
    file.write_text("two")

    recorder = await watch(file, seen=seen)

    assert {"a.yaml"} == await recorder.once()


async def test_a_link_on_the_way_is_followed(tmp_path: Path, watch: Watch) -> None:
    """A link that is swapped further up the path, in another folder, is noticed as one beside the file is."""
    for version in ("1", "2"):
        (tmp_path / "far" / version).mkdir(parents=True)
        (tmp_path / "far" / version / "a.yaml").write_text(version)
    (tmp_path / "far" / "current").symlink_to("1")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "conf").symlink_to("../far/current")
    recorder = await watch(tmp_path / "near" / "conf" / "a.yaml")

    (tmp_path / "far" / "next").symlink_to("2")
    (tmp_path / "far" / "next").replace(tmp_path / "far" / "current")

    assert {"a.yaml"} == await recorder.once()


async def test_a_folder_that_comes_later_is_noticed(tmp_path: Path, watch: Watch) -> None:
    """A secret whose folders are created after the start is used at once, and so is its next value."""
    file = tmp_path / "run" / "secrets" / "key"
    recorder = await watch(file)

    file.parent.mkdir(parents=True)
    file.write_text("one")
    assert {"key"} == await recorder.once()
    file.write_text("two!")

    assert {"key"} == await recorder.once()


async def test_a_folder_further_up_that_is_replaced_is_noticed(tmp_path: Path, watch: Watch) -> None:
    """A folder above the one with the file may be renamed away and another put in its place."""
    for name in ("now", "next"):
        (tmp_path / name / "conf").mkdir(parents=True)
        (tmp_path / name / "conf" / "a.yaml").write_text(name)
    recorder = await watch(tmp_path / "now" / "conf" / "a.yaml")

    (tmp_path / "now").rename(tmp_path / "before")
    (tmp_path / "next").rename(tmp_path / "now")

    async with asyncio.timeout(DEADLINE):
        while (tmp_path / "now" / "conf" / "a.yaml").read_text() != "next" or not recorder.changes:
            await recorder.once()


async def test_without_notices_it_is_looked_all_the_same(tmp_path: Path, watch: Watch) -> None:
    """A change that the kernel gives no notice of is found by looking from time to time."""
    file, elsewhere = tmp_path / "near" / "a.yaml", tmp_path / "far" / "a.yaml"
    file.parent.mkdir()
    file.write_text("one")
    elsewhere.parent.mkdir()
    # The same file by another name: a write there causes no event in the watched folder.
    elsewhere.hardlink_to(file)
    recorder = await watch(file, poll=0.05)

    elsewhere.write_text("two!")

    assert {"a.yaml"} == await recorder.once()


async def test_a_kernel_without_notices_is_reported_once(tmp_path: Path, watch: Watch) -> None:
    """Past a limit of the kernel, the log says so once, and changes are found by looking."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    reported: list[Event] = []

    def none_left(_: asyncio.Event) -> Inotify:
        raise OSError(errno.EMFILE, "Too many open files")

    recorder = await watch(file, poll=0.05, notices=none_left, emit=reported.append)
    for text in ("two", "three"):
        file.write_text(text)
        assert {"a.yaml"} == await recorder.once()

    assert [WatchBlind("Too many open files")] == reported


async def test_paths_follow_from_what_was_read(tmp_path: Path, watch: Watch) -> None:
    """A file that another one names is watched from the moment it is named."""
    index, first, second = tmp_path / "index", tmp_path / "1", tmp_path / "2"
    for path, text in ((index, "1"), (first, ""), (second, "")):
        path.write_text(text)
    recorder = await watch(find=lambda: [index, tmp_path / index.read_text()])

    index.write_text("2")
    assert {"index", "1", "2"} == await recorder.once()
    second.write_text("x")
    assert {"2"} == await recorder.once()
    first.write_text("x")
    second.write_text("y")

    assert {"2"} == await recorder.once()


async def test_looking_can_be_asked_for(tmp_path: Path) -> None:
    """SIGHUP looks at once, and learns whether there was anything new."""
    file = tmp_path / "a.yaml"
    watcher = Watcher(lambda: [file], seen=read_contents([file]), settle=0.0)

    before = await watcher.look()
    file.write_text("one")
    after, again = await watcher.look(), await watcher.look()

    assert ([], [str(file)], []) == ([*before], [*after], [*again])


def test_a_pipe_in_a_files_place_holds_nothing_up(tmp_path: Path) -> None:
    """Reading never blocks: anything but a regular file reads as nothing."""
    os.mkfifo(tmp_path / "pipe")

    assert {str(tmp_path): b"", f"{tmp_path}/pipe": None} == read_contents([tmp_path])


@pytest.mark.parametrize(
    ("folder", "name", "concerned"),
    [
        ("a", "file", True),
        ("a", "other", False),
        ("a", "..data", False),
        ("b", "x.yaml", True),
        ("b", ".x.swp", False),
        ("b", "..data", True),
        (".", "a", False),
        (".", "b", True),
        (".", "c", False),
        ("m", "..data", True),
        ("m", "key", True),
        ("m", "other", False),
        ("m/..1", "key", True),
        ("lost", "x", False),
    ],
)
def test_only_notices_about_what_is_watched_count(tmp_path: Path, folder: str, name: str, concerned: bool) -> None:
    """Other files beside a watched one may be written all day; a folder concerns with all that is visible in it."""
    for made in ("a", "b", "m/..1"):
        (tmp_path / made).mkdir(parents=True)
    (tmp_path / "m" / "..data").symlink_to("..1")
    (tmp_path / "m" / "key").symlink_to("..data/key")
    watched = [tmp_path / "a" / "file", tmp_path / "b", tmp_path / "m" / "key", tmp_path / "lost" / "x"]
    found = places(watched, visible)
    place = found.get(os.path.normpath(tmp_path / folder))

    assert concerned == (place is not None and place.concerns(name))


def test_links_in_a_circle_hold_nothing_up(tmp_path: Path) -> None:
    """A symlink loop hangs nothing: its file reads as missing."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert places([tmp_path / "a"], visible)[str(tmp_path)].concerns("b")
    assert {f"{tmp_path}/a": None} == read_contents([tmp_path / "a"])


def test_a_file_that_changed_just_now_is_read_again(tmp_path: Path) -> None:
    """The inode of a file that was written a moment ago may look the same after the next write, so it counts little."""
    file = tmp_path / "a"
    file.write_text("one")
    digests = Digests()
    digests.read([file])

    assert {} == digests._known


def test_a_file_at_rest_is_remembered_by_its_inode(tmp_path: Path) -> None:
    """Nothing of an old file is read while its inode stays; another mode is another content."""
    file = tmp_path / "a"
    file.write_text("one")
    digests = Digests(now=lambda: time.time_ns() + 10**10)
    before = digests.read([file])
    version, _ = digests._known[str(file)]
    digests._known[str(file)] = version, b"remembered"
    remembered = digests.read([file])
    file.chmod(0o600)
    after = digests.read([file])

    assert {str(file): b"remembered"} == remembered
    assert after not in (before, remembered)
