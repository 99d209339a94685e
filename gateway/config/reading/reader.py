"""Nodes read into the structs of the schema: what does not fit is a problem, and reading goes on.

A struct's fields, their types and their `msgspec.Meta` are all there is to know; nothing about a setting is said twice.
`Meta.extra` may hold ``expected`` (what a value is, in words), ``private`` (never show the value) and ``date`` (a date
may stand unquoted).
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as mi

from gateway.config.reading.document import Document
from gateway.config.reading.shape import Choice, Either, Entry, Many, Named, Record, Shape, Text, Truth, Whole

S = TypeVar("S", bound=msgspec.Struct)


@cache
def record_of(cls: type[msgspec.Struct]) -> Record:
    """The shape of a struct. Raises `TypeError` for a type that no file may hold."""
    return _record(mi.type_info(cls))


def read(cls: type[S], document: Document) -> S | None:
    """A whole document as a struct; None where a part that it cannot do without is missing or wrong."""
    if document.root is None:
        return None
    value = record_of(cls).read(document.root, (), document)
    return value if isinstance(value, cls) else None


def _record(kind: mi.Type) -> Record:
    if not isinstance(kind, mi.StructType):
        raise TypeError(f"{kind!r} is not a struct")
    fields = {}
    for field in kind.fields:
        meta = field.type if isinstance(field.type, mi.Metadata) else mi.Metadata(field.type)
        description = (meta.extra_json_schema or {}).get("description", "")
        fields[field.encode_name] = Entry(_shape(field.type, {}), field.required, description)
    return Record(kind.cls, fields)


def _shape(kind: mi.Type, extra: Mapping[str, Any]) -> Shape:
    match kind:
        case mi.Metadata(type=inner):
            return _shape(inner, {**extra, **(kind.extra or {})})
        case mi.StrType():
            return _text(kind, extra)
        case mi.IntType():
            return _whole(kind)
        case mi.BoolType():
            return Truth()
        case mi.LiteralType():
            return Choice(tuple(map(str, kind.values)))
        case mi.UnionType(types=(mi.IntType() as whole, text)):
            words = _shape(text, extra)
            if isinstance(words, Text):
                return Either(words.expected, _whole(whole), words)
        case mi.VarTupleType():
            item = _shape(kind.item_type, {})
            return Many(f"a list of {extra.get('items', 'values')}", item, kind.min_length or 0)
        case mi.DictType():
            key = _shape(kind.key_type, {})
            if isinstance(key, Text):
                return Named("a mapping of names", key, _shape(kind.value_type, {}), kind.min_length or 0)
        case mi.StructType():
            return _record(kind)
    raise TypeError(f"no file may hold {kind!r}")


def _text(kind: mi.StrType, extra: Mapping[str, Any]) -> Text:
    pattern = re.compile(kind.pattern) if kind.pattern else None
    return Text(extra.get("expected", "text"), pattern, extra.get("private", False), extra.get("date", False))


def _whole(kind: mi.IntType) -> Whole:
    low, high = kind.ge, kind.le
    reach = f" from {low} to {high}" if high is not None else f" of at least {low}" if low is not None else ""
    return Whole(f"a whole number{reach}", low, high)
