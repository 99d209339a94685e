"""The folders that a path depends on: each folder on the way to it, and on the way of each link in it.

Folders are watched, never files: Kubernetes swaps the ``..data`` link beside a file, and editors rename another file
into its place.
"""

import errno
import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from pathlib import Path
from typing import Final

# The limit of Linux: a path with more symbolic links is taken to be a loop.
_LINKS: Final = 40


class Interest(IntEnum):
    """What matters in a folder: that it stays in its place, its entries, or also their contents."""

    ITSELF = 0
    ENTRIES = 1
    CONTENT = 2


class Place:
    """A folder, and which of its entries matter. ``wanted`` is the rule for a folder that is watched as a whole."""

    __slots__ = ("interest", "names", "wanted")

    def __init__(self) -> None:
        self.interest = Interest.ITSELF
        self.names: Final[set[str]] = set()
        self.wanted: Callable[[str], bool] | None = None

    def add(self, name: str, interest: Interest) -> None:
        """Add an entry that matters."""
        self.names.add(name)
        self.interest = max(self.interest, interest)

    def concerns(self, name: str) -> bool:
        """Whether a change of this entry matters. ``..data`` always does in a folder that is watched as a whole."""
        if name in self.names:
            return True
        return self.wanted is not None and (self.wanted(name) or name.startswith(".."))


def places(paths: Iterable[str | os.PathLike[str]], wanted: Callable[[str], bool]) -> dict[str, Place]:
    """The folders that these paths depend on now. A path that is a folder is watched as a whole, by ``wanted``.

    It blocks.
    """
    found: dict[str, Place] = {}
    for path in paths:
        _walk(posixpath.join(str(Path.cwd()), os.fspath(path)), found, wanted)
    return found


def _walk(path: str, found: dict[str, Place], wanted: Callable[[str], bool]) -> None:
    left = deque(path.split("/"))
    at, links = "/", 0
    while left:
        name = left.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            at = posixpath.dirname(at)
            continue
        here = posixpath.join(at, name)
        place = found.setdefault(at, Place())
        if not any(left):
            place.add(name, Interest.CONTENT)
        try:
            target = os.readlink(here)  # noqa: PTH115 - text in, text out
        except OSError as error:
            if error.errno != errno.EINVAL:
                # It does not exist, or cannot be read; that may change.
                place.add(name, Interest.ENTRIES)
                return
            at = here
            continue
        links += 1
        if links > _LINKS:
            return
        place.add(name, Interest.ENTRIES)
        at = "/" if target.startswith("/") else at
        left.extendleft(reversed(target.split("/")))
    if posixpath.isdir(at):
        whole = found.setdefault(at, Place())
        whole.wanted, whole.interest = wanted, Interest.CONTENT
