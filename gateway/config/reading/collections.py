"""Lists and mappings of names, whose items are of one kind. What is wrong with an item leaves out that item alone."""

from typing import Final, Generic, TypeVar

from gateway.config.reading.document import Document, Items, Node, Table
from gateway.config.reading.kinds import UNREAD, JsonSchema, Kind, Text, Unread, wrong
from gateway.config.reading.problem import Steps

T = TypeVar("T")


class Many(Generic[T]):
    """A list, at least so long. Items that cannot be read are left out of it; one that is named twice is a problem."""

    def __init__(self, item: Kind[T], items: str, *, least: int = 0, once: bool = True) -> None:
        self.expected: Final = f"a list of {items}"
        self.item: Final = item
        self._least: Final = least
        self._once: Final = once

    def read(self, node: Node, path: Steps, document: Document) -> tuple[T, ...] | Unread:
        if not isinstance(node, Items):
            return wrong(node, path, document, self.expected)
        if len(node.items) < self._least:
            document.report(path, f"expected {self.expected}, found an empty list", node.line)
            return UNREAD
        values: list[T] = []
        for place, item in enumerate(node.items):
            value = self.item.read(item, (*path, place), document)
            if isinstance(value, Unread):
                document.leave_out((*path, place))
                continue
            if self._once and value in values:
                document.report((*path, place), "is named twice")
            values.append(value)
        return tuple(values)

    @property
    def json_schema(self) -> JsonSchema:
        schema: JsonSchema = {"type": "array", "items": self.item.json_schema}
        schema |= {"minItems": self._least} if self._least else {}
        return schema | ({"uniqueItems": True} if self._once else {})


class Named(Generic[T]):
    """A mapping of names to values, at least so many. Entries that cannot be read are left out of it."""

    expected: Final = "a mapping of names"

    def __init__(self, key: Text[str], item: Kind[T], *, least: int = 0) -> None:
        self._key: Final = key
        self.item: Final = item
        self._least: Final = least

    def read(self, node: Node, path: Steps, document: Document) -> dict[str, T] | Unread:
        if not isinstance(node, Table):
            return wrong(node, path, document, self.expected)
        if len(node.entries) < self._least:
            document.report(path, f"expected {self.expected}, found an empty mapping", node.line)
        values: dict[str, T] = {}
        for name, (line, child) in node.entries.items():
            here = (*path, name)
            if not self._key.matches(name):
                document.report(here, f"this name has to be {self._key.expected}", line)
            value = self.item.read(child, here, document)
            if not isinstance(value, Unread):
                values[name] = value
        return values

    @property
    def json_schema(self) -> JsonSchema:
        pattern = {key: value for key, value in self._key.json_schema.items() if key != "type"}
        schema: JsonSchema = {"type": "object"} | ({"propertyNames": pattern} if pattern else {})
        schema["additionalProperties"] = self.item.json_schema
        return schema | ({"minProperties": self._least} if self._least else {})
