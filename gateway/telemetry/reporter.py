"""Reports what happens: each event and each finished request, as log line, metrics and usage."""

from typing import Final

from gateway.core.limits import Limit
from gateway.telemetry.event import Event
from gateway.telemetry.events.peers import LimitReached
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record
from gateway.telemetry.usage import Usage


class Reporter:
    """Where rooms report to: `emit` is the `Emit` that they are given. For the thread of the loop."""

    def __init__(self, log: Log, metrics: Metrics, usage: Usage) -> None:
        self.log: Final = log
        self.metrics: Final = metrics
        self.usage: Final = usage
        self._counters: Final = metrics.counters

    def emit(self, event: Event) -> None:
        """Write the event's line and count it, as its class says."""
        if event.counter is not None:
            self._counters[type(event)].count(event)
        if event.name:
            self.log.event(event)

    def reached(self, limit: Limit | None) -> None:
        """Count a bound that was reached, if one was."""
        if limit is not None:
            self.emit(LimitReached(limit))

    def finished(self, record: Record) -> None:
        """Report a finished request, once."""
        self.metrics.count(record)
        self.usage.count(record)
        self.log.request(record)
