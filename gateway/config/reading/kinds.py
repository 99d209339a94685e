"""Kinds of value in a file: what each accepts, what it becomes, and the problem with anything else.

A kind reads one node to its final value: seconds, bytes, an address, a path. It also gives its JSON Schema, so that an
editor accepts what the reader accepts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeGuard, TypeVar

from gateway.config.reading.document import Document, Items, Node, Scalar, Style
from gateway.config.reading.problem import Steps, shown
from gateway.config.reading.scalar import reads_as

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
JsonSchema: TypeAlias = dict[str, Any]


class Unread:
    """In place of a value that could not be read; the reason is among the document's problems."""


UNREAD: Final = Unread()

_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]*")
_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Kind(Protocol[T_co]):
    """One kind of value."""

    @property
    def expected(self) -> str:
        """What the value has to be, in words that follow "expected"."""

    def read(self, node: Node, path: Steps, document: Document) -> T_co | Unread:
        """The value, or `UNREAD` with a problem recorded."""

    @property
    def json_schema(self) -> JsonSchema:
        """The JSON Schema of the value. A section in it is a reference, to ``#/$defs/`` and its name."""


class Text(Generic[T]):
    """A string, whole by a pattern, made into a value by ``parse``, which raises `ValueError` with what is wrong.

    A ``private`` one is never shown. An unquoted date is text only where ``date`` is set. ``hint`` says what
    other text is and what to do about it, or nothing where it does not know.
    """

    def __init__(
        self,
        expected: str,
        pattern: str = "",
        *,
        parse: Callable[[str], T],
        private: bool = False,
        date: bool = False,
        hint: Callable[[str], str] | None = None,
    ) -> None:
        self.expected: Final = expected
        self._pattern: Final = pattern
        self._parse: Final = parse
        self._private: Final = private
        self._date: Final = date
        self._hint: Final = hint

    def matches(self, text: str) -> bool:
        """Whether the pattern takes the whole text."""
        return not self._pattern or re.fullmatch(self._pattern, text) is not None

    def read(self, node: Node, path: Steps, document: Document) -> T | Unread:
        return self._read(node, path, document, self._parse)

    def _read(self, node: Node, path: Steps, document: Document, parse: Callable[[str], T]) -> T | Unread:
        if not isinstance(node, Scalar):
            return wrong(node, path, document, self.expected)
        if found := self._fault(node):
            document.report(path, f"expected {self.expected}, found {found}", node.line)
            return UNREAD
        try:
            return parse(node.text)
        except ValueError as error:
            document.report(path, str(error), node.line)
            return UNREAD

    @property
    def json_schema(self) -> JsonSchema:
        pattern = {"pattern": self._pattern} if self._pattern else {}
        return {"type": "string", **pattern, **({"format": "date"} if self._date else {})}

    def _fault(self, node: Scalar) -> str:
        text = node.text
        if not text or not self.matches(text):
            hint = self._hint(text) if self._hint is not None else ""
            return hint or ("nothing" if not text else "something else" if self._private else shown(text))
        if not text.isprintable():
            return "text with a control character or one that cannot be seen"
        if node.style is Style.PLAIN and (other := reads_as(text)) and not (self._date and other == "a date"):
            return f"{'text' if self._private else shown(text)}, which YAML can read as {other}; quote it"
        return ""


class Located(Text[T]):
    """Text with a path in it. ``locate`` is given the text and the folder that relative paths start from.

    ``file`` gives the file that a value stands for, if any: a change of that file changes the configuration.
    """

    def __init__(
        self,
        expected: str,
        pattern: str = "",
        *,
        locate: Callable[[str, Path], T],
        file: Callable[[T], Path | None] | None = None,
        private: bool = False,
        hint: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(expected, pattern, parse=lambda text: locate(text, Path()), private=private, hint=hint)
        self._locate: Final = locate
        self._file: Final = file

    def read(self, node: Node, path: Steps, document: Document) -> T | Unread:
        base = document.base(path)
        value = self._read(node, path, document, lambda text: self._locate(text, base))
        if self._file is not None and not isinstance(value, Unread) and (file := self._file(value)) is not None:
            document.files.append(file)
        return value


class Whole:
    """An integer, in decimal and without separators."""

    def __init__(self, low: int, high: int | None = None) -> None:
        reach = f"of at least {low}" if high is None else f"from {low} to {high}"
        self.expected: Final = f"a whole number {reach}"
        self._low: Final = low
        self._high: Final = high

    def read(self, node: Node, path: Steps, document: Document) -> int | Unread:
        if not is_whole(node) or len(node.text) > 19:
            return wrong(node, path, document, self.expected)
        number = int(node.text)
        if number < self._low or (self._high is not None and number > self._high):
            return wrong(node, path, document, self.expected)
        return number

    @property
    def json_schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self._low} | ({} if self._high is None else {"maximum": self._high})


class Truth:
    """``true`` or ``false``, and nothing else that YAML 1.1 takes for them."""

    expected: Final = "true or false"

    def read(self, node: Node, path: Steps, document: Document) -> bool | Unread:
        if not isinstance(node, Scalar) or node.style is Style.QUOTED or node.text not in _TRUTHS:
            return wrong(node, path, document, self.expected)
        return _TRUTHS[node.text]

    @property
    def json_schema(self) -> JsonSchema:
        return {"type": "boolean"}


class Choice(Generic[T]):
    """One of some words, each with the value that it stands for."""

    def __init__(self, words: Mapping[str, T]) -> None:
        *most, last = words
        self.expected: Final = f"{', '.join(most)} or {last}"
        self._words: Final = words

    def read(self, node: Node, path: Steps, document: Document) -> T | Unread:
        if not isinstance(node, Scalar) or node.text not in self._words:
            return wrong(node, path, document, self.expected)
        return self._words[node.text]

    @property
    def json_schema(self) -> JsonSchema:
        return {"enum": list(self._words)}


def one_of(words: Iterable[T]) -> Choice[T]:
    """One of some words, which stand for themselves; for a `Literal` by `typing.get_args`."""
    return Choice({str(word): word for word in words})


class Amount(Generic[T]):
    """A whole number where a plain one stands, else text; both make the same kind of value."""

    def __init__(self, whole: Kind[T], text: Kind[T]) -> None:
        self.expected: Final = text.expected
        self._whole: Final = whole
        self._text: Final = text

    def read(self, node: Node, path: Steps, document: Document) -> T | Unread:
        return (self._whole if is_whole(node) else self._text).read(node, path, document)

    @property
    def json_schema(self) -> JsonSchema:
        return {"anyOf": [self._whole.json_schema, self._text.json_schema]}


def is_whole(node: Node) -> TypeGuard[Scalar]:
    """Whether a node is written as a whole number."""
    return isinstance(node, Scalar) and node.style is not Style.QUOTED and _WHOLE.fullmatch(node.text) is not None


def wrong(node: Node, path: Steps, document: Document, expected: str) -> Unread:
    """Report a node that is something else than expected."""
    if isinstance(node, Scalar):
        found = shown(node.text) if node.text else "nothing"
        if node.style is Style.QUOTED and node.text:
            found = f"the text {found}"
    else:
        found = "a list" if isinstance(node, Items) else "a mapping"
    document.report(path, f"expected {expected}, found {found}", node.line)
    return UNREAD
