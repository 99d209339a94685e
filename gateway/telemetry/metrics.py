"""Every metric there is. Label values come from the config and closed lists, never from a request."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version as version_of
from typing import Final, cast

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.core.key_faults import default_code
from gateway.telemetry import exposition, labels
from gateway.telemetry.budget_gauges import budget_families
from gateway.telemetry.event import Event, Names
from gateway.telemetry.events import EVENTS
from gateway.telemetry.labels import NONE, OTHER
from gateway.telemetry.record import Record
from gateway.telemetry.series import Counter, EventCounter, Histogram, gauge
from gateway.telemetry.status import BudgetStatus, IssuerStatus, KeyStatus, StoreStatus

# What the gateway answers itself (refusals, /me) takes up to 5 ms; Productlane, as a SaaS API seen from afar, 50 ms to
# 1 s, so the buckets are finest there; 5 s is the longest wait for budget and 60 s for a first byte (DESIGN section 3).
DURATIONS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_AUTH_STATUSES: Final = frozenset({401, 403, 410})


class Metrics:
    """All counts of one process, to be collected by a registry. Its methods are for the thread of the loop.

    ``in_flight`` is the number of requests being served; whoever serves them adds and subtracts. Until `know` names the
    config's callers, endpoints and keys, each of them counts as ``other``.
    """

    def __init__(self, registry: CollectorRegistry | None = None, clock: Callable[[], float] = time.time) -> None:
        self.registry: Final = registry or CollectorRegistry()
        self._clock = clock
        self.in_flight = 0
        self._budget_source: Callable[[], Mapping[tuple[str, str], BudgetStatus]] = dict
        self._budgets: Mapping[tuple[str, str], BudgetStatus] = {}
        self._callers: frozenset[str] = frozenset()
        self._endpoints: frozenset[str] = frozenset()
        self._key_names: frozenset[str] = frozenset()
        self._key_source: Callable[[], Iterable[KeyStatus]] = tuple
        self._keys: tuple[KeyStatus, ...] = ()
        self._store_source: Callable[[], StoreStatus] = StoreStatus
        self._store = StoreStatus()
        self._issuer_source: Callable[[], Iterable[IssuerStatus]] = tuple
        self._issuers: tuple[IssuerStatus, ...] = ()
        self._circuit_open: Callable[[], bool] = bool
        self._dropped_lines: Callable[[], int] | None = None
        self._reloaded: tuple[bool, float] | None = None
        self._restart_needed = False
        self._build = (__version__, platform.python_version(), version_of("aiohttp"))
        self._requests = Counter(
            "requests", "Requests answered, by who answered.", ("caller", "endpoint", "status", "source")
        )
        self._auth = Counter(
            "auth_responses",
            "Answers 401, 403 and 410, whoever gave them.",
            ("status", "code", "source", "caller", "endpoint", "key"),
        )
        self._duration = Histogram(
            "request_duration_seconds",
            "Time from a request's head to the last byte of its answer.",
            ("lane", "source"),
            DURATIONS,
        )
        self._upstream = Histogram(
            "upstream_duration_seconds",
            "Time from the first byte sent to Productlane until the head of its answer, or its failure.",
            ("lane", "source"),
            DURATIONS,
        )
        self._waits = Histogram(
            "pacing_wait_seconds",
            "Time that requests waited for rate budget; those that found some at once are not in it.",
            ("lane",),
            DURATIONS,
        )
        self._decisions = Counter(
            "policy_decisions",
            "Decisions by policy; would_deny is let through by audit.",
            ("caller", "decision", "reason"),
        )
        self._events: Final = {event: EventCounter(event.counter) for event in EVENTS if event.counter is not None}
        self._reloads = Counter(
            "config_reloads",
            "Loads of the config, the first included.",
            ("outcome",),
            [("success",), ("failure",)],
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(cast("Collector", self))

    def know(
        self, *, callers: Iterable[str], endpoints: Iterable[str], keys: Iterable[str], issuers: Iterable[str] = ()
    ) -> None:
        """The names that labels may take from now on, those of the config; counts under names that are gone go too."""
        self._callers = frozenset({*callers, NONE})
        self._endpoints = frozenset(endpoints)
        self._key_names = frozenset({*keys, NONE})
        self._requests.keep({0: self._callers, 1: self._endpoints})
        self._auth.keep({3: self._callers, 4: self._endpoints, 5: self._key_names})
        self._decisions.keep({0: self._callers})
        names = {
            Names.CALLER: self._callers,
            Names.ENDPOINT: self._endpoints,
            Names.KEY: self._key_names,
            Names.ISSUER: frozenset(issuers),
        }
        for counter in self._events.values():
            counter.know(names)

    def watch_keys(self, source: Callable[[], Iterable[KeyStatus]]) -> None:
        """Where the facts about keys come from; asked before each scrape, in the thread that calls `refresh`."""
        self._key_source = source

    def watch_budgets(self, source: Callable[[], Mapping[tuple[str, str], BudgetStatus]]) -> None:
        """Where the budgets come from, by key and lane; asked as those about keys are."""
        self._budget_source = source

    def watch_store(self, source: Callable[[], StoreStatus]) -> None:
        """Where the facts about the store come from; asked as those about keys are."""
        self._store_source = source

    def watch_issuers(self, source: Callable[[], Iterable[IssuerStatus]]) -> None:
        """Where the facts about issuers come from; asked as those about keys are."""
        self._issuer_source = source

    def watch_circuit(self, is_open: Callable[[], bool]) -> None:
        """Where it comes from whether the upstream has stopped answering."""
        self._circuit_open = is_open

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Where the number of log lines dropped so far comes from."""
        self._dropped_lines = dropped

    def count(self, record: Record) -> None:
        """Count a finished request, once."""
        caller = record.caller if record.caller in self._callers else OTHER
        endpoint = record.endpoint if record.endpoint in self._endpoints else OTHER
        source = record.source if record.source in labels.SOURCES else OTHER
        status = labels.STATUSES.get(record.status, OTHER)
        lane = record.lane if record.lane in labels.LANES else OTHER
        self._requests.inc((caller, endpoint, status, source))
        self._duration.observe((lane, source), record.duration_ms / 1000)
        if record.upstream_ms is not None:
            self._upstream.observe((lane, source), record.upstream_ms / 1000)
        if record.wait_ms:
            self._waits.observe((lane,), record.wait_ms / 1000)
        if record.decision in labels.DECISIONS:
            reason = record.reason if record.reason in labels.REASONS else OTHER
            self._decisions.inc((caller, record.decision, reason))
        if record.status in _AUTH_STATUSES:
            code = record.code if record.code in labels.CODES else OTHER
            self._auth.inc((status, code, source, caller, endpoint, self._key_label(record.key)))
        if record.translated:
            # What Productlane said about the key counts as well, beside the 502 that the caller got.
            said = labels.STATUSES.get(record.translated, OTHER), default_code(record.translated), "upstream"
            self._auth.inc((*said, caller, endpoint, self._key_label(record.key)))

    def count_event(self, event: Event) -> None:
        """Count an event that has a counter."""
        self._events[type(event)].count(event)

    def config_loaded(self, *, ok: bool, now: float | None = None, restart_needed: bool | None = None) -> None:
        """Count a load of the config, the first included. ``now`` is a Unix time.

        ``restart_needed`` says whether a setting has changed that counts only at a start; None for as before.
        """
        self._restart_needed = self._restart_needed if restart_needed is None else restart_needed
        self._reloads.inc(("success" if ok else "failure",))
        succeeded_at = self._reloaded[1] if self._reloaded else 0.0
        self._reloaded = (ok, (time.time() if now is None else now) if ok else succeeded_at)

    def refresh(self) -> None:
        """Ask for the facts about keys and queues anew.

        To be called on the loop, just before `render` goes to a thread.
        """
        self._keys = tuple(self._key_source())
        self._budgets = self._budget_source()
        self._store = self._store_source()
        self._issuers = tuple(self._issuer_source())

    def render(self, accept: str = "") -> bytes:
        """The exposition, in the format that `exposition.content_type` names for the same ``Accept``.

        Meant for a thread: 5,000 series take 40 ms, in which it often lets go of the GIL.
        """
        return exposition.render(self.registry, accept)

    def collect(self) -> Iterator[Metric]:
        """Every metric family; prometheus-client's way to ask."""
        yield from (counter.family() for counter in (self._requests, self._auth, self._decisions, self._reloads))
        yield from (counter.family() for counter in self._events.values())
        yield self._duration.family()
        yield self._upstream.family()
        yield self._waits.family()
        yield gauge("in_flight_requests", "Requests being served.", (), [((), self.in_flight)])
        yield from self._key_families()
        yield from budget_families(self._budgets, self._key_names, self._callers)
        yield from self._issuer_families()
        yield from self._own_families()

    def _key_label(self, key: str) -> str:
        return key if key in self._key_names else OTHER if key else NONE

    def _key_families(self) -> Iterator[Metric]:
        slots = [(key.name, slot.slot, slot) for key in self._keys for slot in key.slots]
        yield gauge(
            "key_info",
            "What Productlane says of each secret; the preview is four characters.",
            ("key", "slot", "preview", "workspace", "api_key_id"),
            [
                ((key, place, slot.preview or "", slot.workspace or "", slot.api_key_id or ""), 1)
                for key, place, slot in slots
            ],
        )
        yield gauge(
            "key_state",
            "1 for the state that a secret is in.",
            ("key", "slot", "state"),
            [((key, place, state), state == slot.state) for key, place, slot in slots for state in labels.KEY_STATES],
        )
        yield gauge(
            "key_last_used_timestamp_seconds",
            "When a secret was last sent to Productlane.",
            ("key", "slot"),
            [((key, place), slot.last_used.timestamp()) for key, place, slot in slots if slot.last_used is not None],
        )
        yield gauge(
            "key_scopes_missing",
            "Scopes that routes and policies need of a key and it lacks.",
            ("key",),
            [((key.name,), len(key.missing)) for key in self._keys if key.missing is not None],
        )
        yield gauge(
            "key_scopes_excess",
            "Scopes that a key carries and no policy uses.",
            ("key",),
            [((key.name,), len(key.excess)) for key in self._keys if key.excess is not None],
        )

        yield gauge(
            "key_scopes_unknown",
            "Scopes that a key carries and no endpoint of the catalog asks for.",
            ("key",),
            [((key.name,), len(key.unknown)) for key in self._keys if key.unknown is not None],
        )
        yield gauge(
            "key_wide",
            "1 where a key carries more than any of its callers needs.",
            ("key",),
            [((key.name,), key.wide) for key in self._keys if key.wide is not None],
        )

    def _issuer_families(self) -> Iterator[Metric]:
        yield gauge(
            "issuer_up",
            "1 while the keys of an issuer of callers' tokens can be fetched.",
            ("issuer",),
            [((issuer.name,), issuer.up) for issuer in self._issuers],
        )
        yield gauge(
            "issuer_keys_age_seconds",
            "Time since an issuer's keys were last fetched.",
            ("issuer",),
            [((issuer.name,), issuer.age) for issuer in self._issuers if issuer.age is not None],
        )

    def _own_families(self) -> Iterator[Metric]:
        if self._reloaded is not None:
            ok, at = self._reloaded
            yield gauge("config_last_reload_successful", "1 if the last load of the config succeeded.", (), [((), ok)])
            yield gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the config was last loaded with success.",
                (),
                [((), at)],
            )
        yield gauge(
            "store_up",
            "1 while the store of identities works.",
            ("kind", "use"),
            [((self._store.kind, use), use not in self._store.faults) for use in labels.STORE_USES],
        )
        yield gauge(
            "restart_needed", "1 while a changed setting waits for a restart.", (), [((), self._restart_needed)]
        )
        yield gauge("circuit_state", "1 while the upstream has stopped answering.", (), [((), self._circuit_open())])
        if self._dropped_lines is not None:
            dropped = Counter("log_lines_dropped", "Log lines lost because their reader or disk did not take them.")
            dropped.inc((), self._dropped_lines())
            yield dropped.family()
        yield gauge("build_info", "1, with what is running.", ("version", "python", "aiohttp"), [(self._build, 1)])
