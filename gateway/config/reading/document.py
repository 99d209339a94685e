"""A file's nodes, which know their lines, and the record of what is wrong with them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec

from gateway.config.reading.problem import Problem, Steps, dotted

T = TypeVar("T")


class Style(Enum):
    """How a scalar was written. ``GIVEN`` comes from the environment or a flag, which have no types."""

    PLAIN = "plain"
    QUOTED = "quoted"
    GIVEN = "given"


class Scalar(msgspec.Struct, frozen=True):
    """Text that is not yet a value."""

    text: str
    style: Style
    line: int


class Items(msgspec.Struct, frozen=True):
    """A list."""

    items: tuple["Node", ...]
    line: int


class Table(msgspec.Struct, frozen=True):
    """A mapping: key to the key's line and the value."""

    entries: Mapping[str, tuple[int, "Node"]]
    line: int


Node: TypeAlias = Scalar | Items | Table


class Document:
    """The nodes of one file, and the list that its problems go to.

    ``root`` is None where the file could not be read; then the reason is among the problems. ``origins`` are the
    values that came from elsewhere: path to the name of the source and of the setting there. ``files`` are those that
    values name, as far as the values have been read: a change of one changes the configuration.
    """

    def __init__(
        self,
        file: str,
        root: Node | None,
        problems: list[Problem],
        origins: Mapping[Steps, tuple[str, str]] | None = None,
    ) -> None:
        self.file: Final = file
        self.root: Final = root
        self.problems: Final = problems
        self.origins: Final = dict(origins or {})
        self.files: Final[list[Path]] = []
        self._faulty: Final[list[Steps]] = []
        self._left_out: Final[set[Steps]] = set()

    def report(self, path: Steps, message: str, line: int = 0) -> None:
        """Record a problem at a path; without a line, at that of the nearest node that exists."""
        self._faulty.append(path)
        origin = self.origin(path)
        if origin is not None:
            source, setting = origin
            self.problems.append(Problem(source, 0, setting, message))
        else:
            self.problems.append(Problem(self.file, line or self._line(path), dotted(path), message))

    def origin(self, path: Steps) -> tuple[str, str] | None:
        """Where the value at a path came from, if not from the file."""
        return next((self.origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.origins), None)

    def base(self, path: Steps) -> Path:
        """What a relative path is relative to: the file's folder, or the working directory for flags and variables."""
        return Path(self.file).parent if self.origin(path) is None else Path()

    def sound(self, path: Steps) -> bool:
        """Whether nothing has been reported at a path, or below it."""
        return not any(faulty[: len(path)] == path for faulty in self._faulty)

    def overlaid(self, root: Node, origins: Mapping[Steps, tuple[str, str]]) -> "Document":
        """The document with values from elsewhere in it. What has been reported stays reported."""
        document = Document(self.file, root, self.problems, {**self.origins, **origins})
        document._faulty.extend(self._faulty)
        return document

    def leave_out(self, path: Steps) -> None:
        """Note that the list item at a path could not be read, and is not in the list that was made of it."""
        self._left_out.add(path)

    def items(self, values: Iterable[T], *path: str | int) -> Iterator[tuple[Steps, T]]:
        """The items of a list as it was read, each with its path in the file."""
        paths = ((*path, place) for place in itertools.count())
        return zip((one for one in paths if one not in self._left_out), values, strict=False)

    def names(self, *path: str) -> tuple[str, ...]:
        """The keys of the mapping at a path, whatever is wrong with their values."""
        node = self.root
        for step in path:
            node = node.entries[step][1] if isinstance(node, Table) and step in node.entries else None
        return tuple(node.entries) if isinstance(node, Table) else ()

    def _line(self, path: Steps) -> int:
        node, line = self.root, self.root.line if self.root else 0
        for step in path:
            if isinstance(node, Table) and isinstance(step, str) and step in node.entries:
                line, node = node.entries[step]
            elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                line = node.line
            else:
                break
        return line
