"""Every event there is. To add one, add a class; its log line, its counter and the tests of the docs follow from it.

Requests are no events: each ends in a `gateway.telemetry.record.Record`.
"""

from typing import Final

from gateway.telemetry.event import Event
from gateway.telemetry.events import keys as keys
from gateway.telemetry.events import peers as peers
from gateway.telemetry.events import process as process

EVENTS: Final[tuple[type[Event], ...]] = tuple(sorted(Event.__subclasses__(), key=lambda event: event.name))
LOG_EVENTS: Final[frozenset[str]] = frozenset(event.name for event in EVENTS if event.name)
