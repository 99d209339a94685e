"""Every metric there is. Label values come from the config and closed lists, never from a request.

Counters of events are declared with their event (`gateway.telemetry.events`), gauges in `gateway.telemetry.gauges`, and
what finished requests are counted by in `gateway.telemetry.tally`.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import aiohttp
from msgspec import structs

from gateway import __version__
from gateway.telemetry import exposition
from gateway.telemetry.event import Names
from gateway.telemetry.events import EVENTS
from gateway.telemetry.gauge import State
from gateway.telemetry.gauges import GAUGES
from gateway.telemetry.labels import NONE
from gateway.telemetry.process import process_metrics
from gateway.telemetry.record import Record
from gateway.telemetry.series import Counter, EventCounter, Metric
from gateway.telemetry.tally import Tally


class Metrics:
    """All counts of one process. All methods except `render` belong to the thread of the loop.

    ``in_flight`` is the number of requests being served; the code that serves them updates it. Until `know` names the
    config's callers, endpoints and keys, each of them counts as ``other``. ``counters`` are those of events, by class.
    ``clock`` is Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock: Final = clock
        self.in_flight = 0
        self._names: dict[Names, frozenset[str]] = dict.fromkeys(Names, frozenset())
        self._source: Callable[[], State] = State
        self._state = State()
        self._dropped_lines: Callable[[], int] = int
        self._loaded: tuple[bool, float] | None = None
        self._build: Final = (__version__, platform.python_version(), aiohttp.__version__)
        self._tally: Final = Tally()
        self.count: Final[Callable[[Record], None]] = self._tally.count
        self.counters: Final = {event: EventCounter(event.counter) for event in EVENTS if event.counter is not None}
        self._reloads: Final = Counter(
            "config_reloads",
            "Loads of the config, the first included.",
            ("outcome",),
            [("success",), ("failure",)],
        )

    def know(
        self, *, callers: Iterable[str], endpoints: Iterable[str], keys: Iterable[str], issuers: Iterable[str] = ()
    ) -> None:
        """The names that labels may take from now on, those of the config; counts under names that are gone go too."""
        names = self._names = {
            Names.CALLER: frozenset({*callers, NONE}),
            Names.ENDPOINT: frozenset(endpoints),
            Names.KEY: frozenset({*keys, NONE}),
            Names.ISSUER: frozenset(issuers),
        }
        self._tally.know(names[Names.CALLER], names[Names.ENDPOINT], names[Names.KEY])
        for counter in self.counters.values():
            counter.know(names)

    def watch(self, source: Callable[[], State]) -> None:
        """Where the state that gauges show comes from; `refresh` asks, in its thread."""
        self._source = source

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Where the number of log lines dropped so far comes from."""
        self._dropped_lines = dropped

    def config_loaded(self, *, ok: bool, now: float | None = None) -> None:
        """Count a load of the config, the first included. ``now`` is a Unix time."""
        self._reloads.inc(("success" if ok else "failure",))
        succeeded_at = self._loaded[1] if self._loaded else 0.0
        self._loaded = (ok, (self._clock() if now is None else now) if ok else succeeded_at)

    def refresh(self) -> None:
        """Ask for the state anew. To be called on the loop, just before `render` goes to a thread."""
        self._state = self._source()

    def render(self, accept: str = "") -> bytes:
        """The exposition, in the format that `exposition.content_type` names for the same ``Accept``.

        For a thread: it lets go of the GIL every 0.4 ms.
        """
        return exposition.render(self.families(), accept)

    def families(self) -> Iterator[tuple[Metric, Iterable[str]]]:
        """Every metric with its samples. For a thread, as `render`."""
        yield from self._tally.families()
        yield self._reloads, self._reloads.lines()
        for counter in self.counters.values():
            yield counter, counter.lines()
        dropped = Counter("log_lines_dropped", "Log lines lost because their reader or disk did not take them.")
        dropped.inc((), self._dropped_lines())
        yield dropped, dropped.lines()
        state = structs.replace(
            self._state,
            in_flight=self.in_flight,
            loaded=self._loaded,
            callers=self._names[Names.CALLER],
            key_names=self._names[Names.KEY],
            build=self._build,
        )
        for gauge in GAUGES:
            yield gauge.metric, gauge.metric.rows(gauge.rows(state))
        yield from process_metrics()
