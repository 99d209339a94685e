"""A bounded memory: the entry that was used longest ago makes room for a new one."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

ENTRIES: Final = 1024

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """A mapping with at most ``bound`` entries."""

    __slots__ = ("_bound", "_entries")

    def __init__(self, bound: int = ENTRIES) -> None:
        self._bound = bound
        self._entries: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._bound:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)
