"""YAML read strictly into nodes that know their lines. Nothing is guessed: a scalar stays text until it is asked for.

Refused: duplicate keys, anchors, aliases, tags, directives, a second document, other encodings than UTF-8, more than
256 kB, more than 20 levels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.config.reading.document import Document, Items, Node, Scalar, Style, Table
from gateway.config.reading.problem import Problem, Steps, dotted, shown
from gateway.config.reading.scalar import reads_as
from gateway.config.reading.syntax import explain

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 20


def open_document(path: Path, problems: list[Problem]) -> Document:
    """The document in a file."""
    return parse(str(path), read_file(path, problems), problems)


def read_file(path: Path, problems: list[Problem]) -> bytes | None:
    """A file's bytes, at most one more than `MAX_BYTES`; None if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        problems.append(Problem(str(path), 0, "", f"cannot be read: {error.strerror}"))
        return None


def parse(file: str, data: bytes | None, problems: list[Problem]) -> Document:
    """The document in a file's bytes; without a root where there are none."""
    if data is None:
        return Document(file, None, problems)
    faults: list[tuple[Steps, int, str]] = []
    root: Node | None = None
    try:
        text = _text(data)
        try:
            root = _Builder(text, faults).document()
        except yaml.YAMLError as error:
            raise _Unreadable(*explain(error, text)) from None
    except _Unreadable as error:
        problems.append(Problem(file, error.line, dotted(error.path), error.message))
    document = Document(file, root, problems)
    for path, line, message in faults:
        document.report(path, message, line)
    return document


class _Unreadable(Exception):
    """The file is refused as a whole."""

    def __init__(self, line: int, message: str, path: Steps = ()) -> None:
        super().__init__(message)
        self.line, self.path, self.message = line, path, message


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _Unreadable(0, f"is larger than {MAX_BYTES // 1024} kB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Unreadable(line, "is not UTF-8 text") from None


class _Builder:
    """Makes nodes of the parser's events. Recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, text: str, faults: list[tuple[Steps, int, str]]) -> None:
        # libyaml where PyYAML was built with it: 1 ms for the catalog instead of 15.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Final[Iterator[Any]] = yaml.parse(text, Loader=loader)
        self._faults: Final = faults

    def document(self) -> Node:
        next(self._events)
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            raise _Unreadable(0, "is empty")
        if start.version or start.tags:
            raise _Unreadable(1, "YAML directives are not allowed")
        root = self._node(next(self._events), ())
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _Unreadable(after.start_mark.line + 1, "holds a second document; one is allowed")
        return root

    def _node(self, event: Any, path: Steps) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _Unreadable(line, "anchors and aliases are not allowed; write the value out", path)
        if event.tag is not None:
            raise _Unreadable(line, f"the tag {shown(event.tag)} is not allowed; tags have no meaning here", path)
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, Style.QUOTED if event.style else Style.PLAIN, line)
        if len(path) >= MAX_DEPTH:
            raise _Unreadable(line, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(line, path)
        return self._table(line, path)

    def _items(self, line: int, path: Steps) -> Items:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return Items(tuple(items), line)

    def _table(self, line: int, path: Steps) -> Table:
        entries: dict[str, tuple[int, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, path)
            if not isinstance(key, Scalar):
                raise _Unreadable(key.line, "a key has to be plain text", path)
            here = (*path, key.text)
            value = self._node(next(self._events), here)
            if key.text in entries:
                self._faults.append((here, key.line, f"is given twice, first in line {entries[key.text][0]}"))
                continue
            if key.style is Style.PLAIN and (other := reads_as(key.text)):
                self._faults.append((here, key.line, f"YAML can read this key as {other}; quote it"))
            entries[key.text] = (key.line, value)
        return Table(entries, line)
