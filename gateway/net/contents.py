"""Contents of files, as digests that can be compared."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

# Each path to a digest of its bytes and permissions; None where nothing can be read there. Paths are text here: two
# readings of 5,000 files are compared on the loop, which takes 20 ms where they are `pathlib.Path`.
Contents: TypeAlias = Mapping[str, bytes | None]

# Larger than any configuration; the rest of a larger file is not looked at.
_LONGEST: Final = 16 << 20
# A file that changed this short a time ago may change again with the same times; nanoseconds.
_RECENT: Final = 2_000_000_000


def visible(name: str) -> bool:
    """Whether a file in a watched folder counts. Hidden files belong to editors and to Kubernetes itself."""
    return not name.startswith(".")


def _version(facts: os.stat_result) -> tuple[int, ...]:
    """What a file's inode says of its content. Each write and each change of permissions moves the last number."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


class Digests:
    """Reads contents again, and skips files whose inode is unchanged.

    ``now`` is Unix time in nanoseconds.
    """

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self._now: Final = now
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def read(self, paths: Iterable[str | os.PathLike[str]], wanted: Callable[[str], bool] = visible) -> Contents:
        """The contents of the paths. A folder stands for the files in it whose names are wanted, not for folders in it.

        It blocks.
        """
        found: dict[str, bytes | None] = {}
        known: dict[str, tuple[tuple[int, ...], bytes]] = {}
        for path in (os.fspath(path) for path in paths):
            try:
                inside = os.listdir(path)  # noqa: PTH208 - text in, text out
            except OSError:
                found[path] = self._digest(path, known)
            else:
                found[path] = b""
                files = (os.path.join(path, name) for name in inside if wanted(name))  # noqa: PTH118
                found.update({file: self._digest(file, known) for file in files})
        self._known = known
        return found

    def _digest(self, path: str, known: dict[str, tuple[tuple[int, ...], bytes]]) -> bytes | None:
        try:
            facts = os.stat(path)  # noqa: PTH116 - text in
        except OSError:
            return None
        before = self._known.get(path)
        if before is not None and before[0] == _version(facts):
            known[path] = before
            return before[1]
        read = _read(path)
        if read is None:
            return None
        facts, digest = read
        if self._now() - facts.st_ctime_ns > _RECENT:
            known[path] = _version(facts), digest
        return digest


def read_contents(paths: Iterable[str | os.PathLike[str]], wanted: Callable[[str], bool] = visible) -> Contents:
    """As `Digests.read`, once."""
    return Digests().read(paths, wanted)


def _read(path: str) -> tuple[os.stat_result, bytes] | None:
    try:
        # Non-blocking, so that a pipe put in a file's place cannot hold the thread up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return None
        # Permissions count: `chmod 600` is how an operator mends the file of a secret.
        digest = hashlib.blake2b(b"%o " % stat.S_IMODE(facts.st_mode), digest_size=16)
        left = _LONGEST
        while left > 0 and (data := os.read(descriptor, min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
        return facts, digest.digest()
    except OSError:
        return None
    finally:
        os.close(descriptor)
