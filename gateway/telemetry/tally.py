"""Finished requests, tallied by kind while they end and sorted into metrics when somebody asks."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, TypeAlias

from gateway.core.key_faults import default_code
from gateway.telemetry import labels
from gateway.telemetry.exposition import PAUSE, STRETCH
from gateway.telemetry.labels import NONE, OTHER
from gateway.telemetry.record import Record
from gateway.telemetry.series import Counter, Histogram, Metric, Values

# What the gateway answers itself (refusals, /me) takes up to 5 ms; Productlane, as a SaaS API seen from afar, 50 ms to
# 1 s, so the buckets are finest there; 5 s is the longest wait for budget and 60 s for a first byte.
DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_AUTH_STATUSES: Final = frozenset({401, 403, 410})
# Kinds that are tallied apart before they are summed up: what an upstream writes cannot fill the memory.
_KINDS: Final = 20_000

_Kinds: TypeAlias = "dict[tuple[str, ...], _Kind]"


class _Kind:
    """Requests that have everything in common but their times: how many, and the cells that their times go into."""

    __slots__ = ("count", "durations", "upstream", "waits")

    def __init__(self, durations: list[float]) -> None:
        self.count = 0
        self.durations: Final = durations
        self.upstream: list[float] | None = None
        self.waits: list[float] | None = None


class _Sums:
    """What kinds sum up to: the counters of requests, of answers about rights, and of decisions."""

    __slots__ = ("auth", "decisions", "requests")

    def __init__(self) -> None:
        self.requests: Final = Counter(
            "requests", "Requests answered, by who answered.", ("caller", "endpoint", "status", "source")
        )
        self.auth: Final = Counter(
            "auth_responses",
            "Answers 401, 403 and 410, of the gateway and of Productlane.",
            ("status", "code", "source", "caller", "endpoint", "key"),
        )
        self.decisions: Final = Counter(
            "policy_decisions",
            "Decisions by policy; would_deny is let through by audit.",
            ("caller", "decision", "reason"),
        )


class Tally:
    """Counts finished requests; `count` is for the thread of the loop, `families` for any.

    Names of callers, endpoints and keys that `know` has not named count as ``other``.
    """

    def __init__(self) -> None:
        self._callers: frozenset[str] = frozenset()
        self._endpoints: frozenset[str] = frozenset()
        self._keys: frozenset[str] = frozenset()
        # Both at once, so that no other thread sees a request in neither or in both.
        self._state: tuple[_Sums, _Kinds] = (_Sums(), {})
        self._kinds = self._state[1]
        self._durations: Final = Histogram(
            "request_duration_seconds",
            "Time from a request's head to the last byte of its answer.",
            ("lane", "source"),
            DURATIONS,
        )
        self._upstream: Final = Histogram(
            "upstream_duration_seconds",
            "Time from the first byte sent to Productlane until the head of its answer, or its failure.",
            ("lane", "source"),
            DURATIONS,
        )
        self._waits: Final = Histogram(
            "pacing_wait_seconds",
            "Time that requests waited for rate budget; those that found some at once are not in it.",
            ("lane",),
            DURATIONS,
        )

    def count(self, record: Record) -> None:
        """Count a finished request, once."""
        status = record.status
        code = record.code if status in _AUTH_STATUSES else ""
        shown = labels.STATUSES.get(status, OTHER)
        lane, source = record.lane, record.source
        at = record.caller, record.endpoint, shown, source, lane, record.decision, record.reason, code, record.key
        kind = self._kinds.get(at) or self._begin(at)
        kind.count += 1
        # As `Histogram.observe` does, without a call.
        seconds = record.duration_ms / 1000
        cells = kind.durations
        cells[bisect_left(DURATIONS, seconds)] += 1
        cells[-1] += seconds
        if record.upstream_ms is not None:
            if kind.upstream is None:
                kind.upstream = self._upstream.cells(_lane_and_source(lane, source))
            seconds = record.upstream_ms / 1000
            cells = kind.upstream
            cells[bisect_left(DURATIONS, seconds)] += 1
            cells[-1] += seconds
        if record.wait_ms:
            if kind.waits is None:
                kind.waits = self._waits.cells(_lane_and_source(lane, source)[:1])
            self._waits.observe(kind.waits, record.wait_ms / 1000)
        if record.translated:
            # What Productlane said about the key counts as well, beside the 502 that the caller got.
            caller = record.caller if record.caller in self._callers else OTHER
            endpoint = record.endpoint if record.endpoint in self._endpoints else OTHER
            said = labels.STATUSES.get(record.translated, OTHER), default_code(record.translated), "upstream"
            self._state[0].auth.inc((*said, caller, endpoint, self._key_label(record.key)))

    def know(self, callers: frozenset[str], endpoints: frozenset[str], keys: frozenset[str]) -> None:
        """The configuration's names from now on; counts under names that are gone go too."""
        self._sum_up()
        self._callers, self._endpoints, self._keys = callers, endpoints, keys
        sums = self._state[0]
        sums.requests.keep({0: callers, 1: endpoints})
        sums.auth.keep({3: callers, 4: endpoints, 5: keys})
        sums.decisions.keep({0: callers})

    def families(self) -> Iterator[tuple[Metric, Iterator[str]]]:
        """Every metric of finished requests, with its samples. It sleeps now and then: call it in a thread."""
        sums = self._sums()
        for counter in (sums.requests, sums.auth, sums.decisions):
            yield counter, counter.lines()
        for histogram in (self._durations, self._upstream, self._waits):
            yield histogram, histogram.lines()

    def _begin(self, at: tuple[str, ...]) -> _Kind:
        if len(self._kinds) >= _KINDS:
            self._sum_up()
        kind = self._kinds[at] = _Kind(self._durations.cells(_lane_and_source(at[4], at[3])))
        return kind

    def _sum_up(self) -> None:
        self._state = (self._sums(pause=False), {})
        self._kinds = self._state[1]

    def _sums(self, *, pause: bool = True) -> _Sums:
        before, kinds = self._state
        sums = _Sums()
        sums.requests.values.update(before.requests.values)
        sums.auth.values.update(before.auth.values)
        sums.decisions.values.update(before.decisions.values)
        for n, (at, kind) in enumerate(kinds.copy().items(), 1):
            self._add(sums, at, kind.count)
            if pause and n % STRETCH == 0:
                time.sleep(PAUSE)
        return sums

    def _add(self, sums: _Sums, at: tuple[str, ...], count: int) -> None:
        caller, endpoint, status, source, _, decision, reason, code, key = at
        caller = caller if caller in self._callers else OTHER
        endpoint = endpoint if endpoint in self._endpoints else OTHER
        source = source if source in labels.SOURCES else OTHER
        sums.requests.inc((caller, endpoint, status, source), count)
        if decision in labels.DECISIONS:
            sums.decisions.inc((caller, decision, reason if reason in labels.REASONS else OTHER), count)
        if status in _AUTH_LABELS:
            code = code if code in labels.CODES else OTHER
            sums.auth.inc((status, code, source, caller, endpoint, self._key_label(key)), count)

    def _key_label(self, key: str) -> str:
        return key if key in self._keys else OTHER if key else NONE


_AUTH_LABELS: Final = frozenset(map(str, _AUTH_STATUSES))


def _lane_and_source(lane: str, source: str) -> Values:
    return lane if lane in labels.LANES else OTHER, source if source in labels.SOURCES else OTHER
