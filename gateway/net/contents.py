"""What files hold, as digests that can be compared."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

# Each path to a digest of its bytes and permissions; None where nothing can be read there.
Contents: TypeAlias = Mapping[Path, bytes | None]

# Larger than any configuration; the rest of a larger file is not looked at.
_LONGEST: Final = 16 << 20
# A file that changed this short a time ago may change again with the same times; nanoseconds.
_RECENT: Final = 2_000_000_000


def visible(name: str) -> bool:
    """Whether a file in a watched folder counts. Hidden ones are those of editors and of Kubernetes' own workings."""
    return not name.startswith(".")


class _Version(NamedTuple):
    """What a file's inode says of its content. Each write and each change of permissions moves ``changed``."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, facts: os.stat_result) -> "_Version":
        return cls(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


class Digests:
    """Reads contents again, and skips the bytes of files whose inode says that they are as they were.

    ``now`` is Unix time in nanoseconds.
    """

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self._now: Final = now
        self._known: dict[Path, tuple[_Version, bytes]] = {}

    def read(self, paths: Iterable[Path], wanted: Callable[[str], bool] = visible) -> Contents:
        """What the paths hold now. A folder stands for the files in it whose names are wanted, not for folders in it.

        It blocks.
        """
        found: dict[Path, bytes | None] = {}
        known: dict[Path, tuple[_Version, bytes]] = {}
        for path in paths:
            try:
                inside = list(path.iterdir())
            except OSError:
                found[path] = self._digest(path, known)
            else:
                found[path] = b""
                found.update({file: self._digest(file, known) for file in inside if wanted(file.name)})
        self._known = known
        return found

    def _digest(self, path: Path, known: dict[Path, tuple[_Version, bytes]]) -> bytes | None:
        try:
            facts = path.stat()
        except OSError:
            return None
        version, digest = self._known.get(path, (None, b""))
        if version == _Version.of(facts):
            known[path] = version, digest
            return digest
        read = _read(path)
        if read is None:
            return None
        facts, digest = read
        if self._now() - facts.st_ctime_ns > _RECENT:
            known[path] = _Version.of(facts), digest
        return digest


def read_contents(paths: Iterable[Path], wanted: Callable[[str], bool] = visible) -> Contents:
    """As `Digests.read`, once."""
    return Digests().read(paths, wanted)


def _read(path: Path) -> tuple[os.stat_result, bytes] | None:
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
        return facts, digest.digest()
    except OSError:
        return None
    finally:
        os.close(descriptor)
