"""What an event is: a small frozen value that a room emits, with its log line and its counter declared beside it."""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")


class Names(Enum):
    """Label values that the configuration names; anything else counts as ``other``."""

    CALLER = "caller"
    ENDPOINT = "endpoint"
    KEY = "key"
    ISSUER = "issuer"


class Counted(msgspec.Struct, frozen=True):
    """A counter that an event adds one to. ``name`` is without prefix and ``_total``.

    ``labels`` are fields of the event, each with its closed list of values.
    """

    name: str
    help: str
    labels: Mapping[str, Collection[str] | Names] = msgspec.field(default_factory=dict)


class Event(msgspec.Struct, frozen=True):
    """Something that happened. A subclass is all that there is to say of one kind; its docstring is its meaning.

    ``name`` is the ``event`` of its log line, empty where it has none, and ``level`` that line's. The line holds the
    fields in their order, without those that are None or in ``untold``. Fields hold names and settings from the
    configuration, facts of the process and numbers; an error is named by its class, never by its text.
    """

    name: ClassVar[str] = ""
    level: ClassVar[Level] = "info"
    untold: ClassVar[frozenset[str]] = frozenset()
    counter: ClassVar[Counted | None] = None

    def severity(self) -> Level | None:
        """The level of this event's line, None where it has no line."""
        return self.level if self.name else None

    def times(self) -> int:
        """How often it happened: what its counter rises by."""
        return 1

    def fields(self) -> dict[str, Any]:
        """The fields of its line."""
        names = zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True)
        return {
            shown: value for one, shown in names if one not in self.untold and (value := getattr(self, one)) is not None
        }


# What a room is given to report with. It returns at once, never raises, and may be called by any thread for a log line;
# an event with a counter is for the thread of the loop.
Emit: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Report to nobody: for tools and tests."""
