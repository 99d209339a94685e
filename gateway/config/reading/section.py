"""Sections: classes that declare the keys of a mapping, and are what reading it gives.

A key is declared once, with its kind, its description and its default as a file would have it::

    class Pacing(Section):
        '''How long a request may wait for rate budget.'''

        max_wait: float = setting(DURATION, "Longest wait of a request.", default="5s")

`Pacing().max_wait` is then 5.0. Sections are frozen and compare by value. They are plain classes and no dataclasses:
making a dataclass takes 0.8 ms of a start, and there are twenty.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, Self, TypeAlias, TypeVar, dataclass_transform, overload

from gateway.config.reading.collections import Many, Named
from gateway.config.reading.document import Document, Items, Node, Scalar, Style, Table
from gateway.config.reading.kinds import UNREAD, JsonSchema, Kind, Located, Unread, wrong
from gateway.config.reading.problem import Steps, did_you_mean

T = TypeVar("T")
S = TypeVar("S", bound="Section")
# As a file would have it, or a section that has defaults of its own.
Default: TypeAlias = "str | int | bool | tuple[()] | Section"

_REQUIRED: Final = object()


class Setting:
    """One key of a section. ``default`` is as a file would have it, None where there is none."""

    __slots__ = ("at_start", "default", "description", "kind", "required")

    def __init__(self, kind: Kind[Any], description: str, default: Any, at_start: bool) -> None:
        self.kind: Final = kind
        self.description: Final = description
        self.required: Final = default is _REQUIRED
        self.default: Final[Default | None] = None if self.required else default
        self.at_start: Final = at_start

    def value(self, document: Document, path: Steps) -> Any:
        """The default's value, for a key that a document does not give. Raises `TypeError` where it has none."""
        if self.default is None or isinstance(self.default, Section):
            return self.default
        if isinstance(self.default, tuple):
            node: Node = Items((), 0)
        else:
            text = str(self.default)
            node = Scalar(text.lower() if isinstance(self.default, bool) else text, Style.GIVEN, 0)
        value = self.kind.read(node, path, document)
        if isinstance(value, Unread):
            raise TypeError(f"{self.default!r} is no {self.kind.expected}")
        return value


@overload
def setting(kind: Kind[T], description: str, *, at_start: bool = False) -> T: ...
@overload
def setting(kind: Kind[T], description: str, *, default: None, at_start: bool = False) -> T | None: ...
@overload
def setting(kind: Kind[T], description: str, *, default: Default, at_start: bool = False) -> T: ...
def setting(kind: Kind[Any], description: str, *, default: Any = _REQUIRED, at_start: bool = False) -> Any:
    """Declare a key. Without a default it is required; with None it may be left out.

    A key that is read ``at_start`` takes effect at the next start of the process, and not at a reload.
    """
    return Setting(kind, description, default, at_start)


def section(*, factory: type[S], at_start: bool = False) -> S:
    """Declare a key that is a section of its own, by default with its defaults. Its class describes it."""
    made: S = setting(Record(factory), factory.__doc__ or "", default=factory(), at_start=at_start)
    return made


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting, section))
class Section:
    """A mapping in a file. Its keys are those that the class declares, and no others."""

    settings: ClassVar[Mapping[str, Setting]] = {}

    def __init_subclass__(cls) -> None:
        """Collect what the class and its bases declare; put each default's value in the place of its declaration."""
        super().__init_subclass__()
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}
        cls.settings = {**cls.settings, **own}
        for name, one in own.items():
            delattr(cls, name) if one.required else setattr(cls, name, one.value(Document("", None, []), ()))

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - self.settings.keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        for name, one in self.settings.items():
            if one.required and name not in values:
                raise TypeError(f"{type(self).__name__} needs {name}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in self.settings)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.settings))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.settings)})"

    def replaced(self, **values: Any) -> Self:
        """The same with other values."""
        return type(self)(**{**self.__dict__, **values})


class Record(Generic[S]):
    """The kind of value that a section is."""

    expected: Final = "a mapping"

    def __init__(self, cls: type[S]) -> None:
        self.cls: Final = cls

    def read(self, node: Node, path: Steps, document: Document) -> S | Unread:
        values = self.values(node, path, document)
        if any(one.required and name not in values for name, one in self.cls.settings.items()):
            return UNREAD
        return self.cls(**values)

    def values(self, node: Node, path: Steps, document: Document) -> dict[str, Any]:
        """The values that are given and could be read, and defaults that depend on where the document is."""
        settings = self.cls.settings
        if not isinstance(node, Table):
            wrong(node, path, document, f"{self.expected} with {', '.join(settings)}")
            return {}
        values: dict[str, Any] = {}
        for name, (line, child) in node.entries.items():
            here = (*path, name)
            one = settings.get(name)
            if one is None:
                document.report(here, f"unknown key{did_you_mean(name, settings)}", line)
            elif (value := one.kind.read(child, here, document)) is not UNREAD:
                values[name] = value
        for name, one in settings.items():
            if name not in node.entries and one.required:
                document.report((*path, name), f"is missing: {one.description}", node.line)
            elif name not in values and isinstance(one.kind, Located) and one.default is not None:
                values[name] = one.value(document, (*path, name))
        return values

    @property
    def json_schema(self) -> JsonSchema:
        return {"$ref": f"#/$defs/{self.cls.__name__}"}


def object_schema(cls: type[Section]) -> JsonSchema:
    """The JSON Schema of a section, written out."""
    properties: JsonSchema = {}
    for name, one in cls.settings.items():
        properties[name] = {"description": one.description, **one.kind.json_schema}
        if one.default is not None:
            properties[name]["default"] = _as_json(one.default)
    return {
        "description": cls.__doc__,
        "type": "object",
        "properties": properties,
        "required": [name for name, one in cls.settings.items() if one.required],
        "additionalProperties": False,
    }


def sections(cls: type[Section]) -> Iterator[type[Section]]:
    """The sections that a section holds, at any depth, each once for every place where it stands."""
    for one in cls.settings.values():
        kind = one.kind
        while isinstance(kind, Many | Named):
            kind = kind.item
        if isinstance(kind, Record):
            yield kind.cls
            yield from sections(kind.cls)


def _as_json(default: Default) -> Any:
    if isinstance(default, tuple):
        return []
    if isinstance(default, Section):
        settings = type(default).settings
        return {name: _as_json(one.default) for name, one in settings.items() if one.default is not None}
    return default


def read(cls: type[S], document: Document) -> S | None:
    """A whole document as a section; None where a key that it cannot do without is missing or wrong."""
    if document.root is None:
        return None
    value = Record(cls).read(document.root, (), document)
    return None if isinstance(value, Unread) else value


def single_settings(cls: type[Section], above: Steps = ()) -> Iterator[tuple[Steps, Setting]]:
    """The settings that hold one value each, with their paths; those in lists and in mappings of names are not."""
    for name, one in cls.settings.items():
        if isinstance(one.kind, Record):
            yield from single_settings(one.kind.cls, (*above, name))
        elif not isinstance(one.kind, Many | Named):
            yield (*above, name), one
