"""Fields of requests that stay behind because no list names them: counted by class, and logged."""

from collections.abc import Iterable
from typing import Final

from gateway.core.field_rules import field_class
from gateway.telemetry.event import Emit
from gateway.telemetry.events.peers import RequestFieldsRefused

# Of the names of refused fields, how many are logged, and how much of each.
_MOST_SHOWN: Final = 16
_SHOWN: Final = 64


def report_fields(names: Iterable[bytes], emit: Emit) -> None:
    """Report the fields that stay behind, once for each class of names."""
    classes: dict[str, list[str]] = {}
    for name in names:
        classes.setdefault(field_class(name), []).append(name[:_SHOWN].decode("ascii", "replace"))
    for kind, shown in classes.items():
        emit(RequestFieldsRefused(kind, sorted(set(shown))[:_MOST_SHOWN]))
