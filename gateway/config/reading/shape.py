"""What each kind of value accepts, and what it says of the rest."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from gateway.config.reading.document import Document, Items, Node, Scalar, Style, Table
from gateway.config.reading.problem import Steps, did_you_mean, shown
from gateway.config.reading.scalar import reads_as


class Unread:
    """Stands where a value could not be read; its reason is among the document's problems."""


UNREAD: Final = Unread()

_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]*")
_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Shape(Protocol):
    """What one type accepts."""

    @property
    def expected(self) -> str: ...

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        """The value, or `UNREAD` with a problem recorded."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string, whole by a pattern."""

    expected: str
    pattern: re.Pattern[str] | None
    private: bool
    date: bool

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if not isinstance(node, Scalar):
            return _wrong(node, path, document, self.expected)
        text = node.text
        if not text or (self.pattern is not None and not self.pattern.fullmatch(text)):
            found = "nothing" if not text else "something else" if self.private else shown(text)
        elif not text.isprintable():
            found = "text with a control character or one that cannot be seen"
        elif node.style is Style.PLAIN and (other := reads_as(text)) and not (self.date and other == "a date"):
            found = f"{'text' if self.private else shown(text)}, which YAML can read as {other}; quote it"
        else:
            return text
        document.report(path, f"expected {self.expected}, found {found}", node.line)
        return UNREAD


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer, in decimal and without separators."""

    expected: str
    low: int | None
    high: int | None

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if not isinstance(node, Scalar) or node.style is Style.QUOTED or not _WHOLE.fullmatch(node.text):
            return _wrong(node, path, document, self.expected)
        number = int(node.text) if len(node.text) <= 19 else None
        if (
            number is None
            or (self.low is not None and number < self.low)
            or (self.high is not None and number > self.high)
        ):
            return _wrong(node, path, document, self.expected)
        return number


@dataclass(frozen=True, slots=True)
class Truth:
    """``true`` or ``false``, and nothing else that YAML 1.1 takes for them."""

    expected: str = "true or false"

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if not isinstance(node, Scalar) or node.style is Style.QUOTED or node.text not in _TRUTHS:
            return _wrong(node, path, document, self.expected)
        return _TRUTHS[node.text]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if not isinstance(node, Scalar) or node.text not in self.words:
            return _wrong(node, path, document, self.expected)
        return node.text


@dataclass(frozen=True, slots=True)
class Either:
    """A whole number where a plain one stands, else text."""

    expected: str
    whole: Whole
    text: Text

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if isinstance(node, Scalar) and node.style is not Style.QUOTED and _WHOLE.fullmatch(node.text):
            return self.whole.read(node, path, document)
        return self.text.read(node, path, document)


@dataclass(frozen=True, slots=True)
class Many:
    """A list. Items that cannot be read are left out of it."""

    expected: str
    item: Shape
    least: int

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if not isinstance(node, Items):
            return _wrong(node, path, document, self.expected)
        if len(node.items) < self.least:
            document.report(path, f"expected {self.expected}, found an empty list", node.line)
            return UNREAD
        values = []
        for place, item in enumerate(node.items):
            value = self.item.read(item, (*path, place), document)
            if value is UNREAD:
                document.leave_out((*path, place))
            else:
                values.append(value)
        return tuple(values)


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping of names to values. Entries that cannot be read are left out of it."""

    expected: str
    key: Text
    value: Shape
    least: int

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        if not isinstance(node, Table):
            return _wrong(node, path, document, self.expected)
        if len(node.entries) < self.least:
            document.report(path, f"expected {self.expected}, found an empty mapping", node.line)
        values = {}
        for name, (line, child) in node.entries.items():
            here = (*path, name)
            if self.key.pattern is not None and not self.key.pattern.fullmatch(name):
                document.report(here, f"this name has to be {self.key.expected}", line)
            value = self.value.read(child, here, document)
            if value is not UNREAD:
                values[name] = value
        return values


@dataclass(frozen=True, slots=True)
class Entry:
    """A field of a struct."""

    shape: Shape
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Record:
    """A struct: its fields by the names they have in the file."""

    cls: type[msgspec.Struct]
    fields: Mapping[str, Entry]
    expected: str = "a mapping"

    def read(self, node: Node, path: Steps, document: Document) -> Any:
        values = self.values(node, path, document)
        if any(field.required and name not in values for name, field in self.fields.items()):
            return UNREAD
        return self.cls(**values)

    def values(self, node: Node, path: Steps, document: Document) -> dict[str, Any]:
        """The fields that are given and could be read; the defaults of the others are not in it."""
        if not isinstance(node, Table):
            _wrong(node, path, document, f"{self.expected} with {', '.join(self.fields)}")
            return {}
        values = {}
        for name, (line, child) in node.entries.items():
            here = (*path, name)
            field = self.fields.get(name)
            if field is None:
                document.report(here, f"unknown key{did_you_mean(name, self.fields)}", line)
            elif (value := field.shape.read(child, here, document)) is not UNREAD:
                values[name] = value
        for name, field in self.fields.items():
            if field.required and name not in node.entries:
                document.report((*path, name), f"is missing: {field.description}", node.line)
        return values


def _wrong(node: Node, path: Steps, document: Document, expected: str) -> Unread:
    if isinstance(node, Scalar):
        found = shown(node.text) if node.text else "nothing"
        if node.style is Style.QUOTED and node.text:
            found = f"the text {found}"
    else:
        found = "a list" if isinstance(node, Items) else "a mapping"
    document.report(path, f"expected {expected}, found {found}", node.line)
    return UNREAD
