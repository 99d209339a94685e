"""A closed list of names with a row of facts for each."""

from enum import StrEnum
from typing import Self


class RowEnum(StrEnum):
    """The first value of a member is its own text; `__init__` of the list takes all of them and names the others."""

    def __new__(cls, value: str, *_: object) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        return member
