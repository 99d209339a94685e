"""`gateway.telemetry.metrics`: the names and labels that dashboards rely on, and a bound that no caller can move."""

import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.field_rules import FIELD_CLASSES
from gateway.telemetry import labels
from gateway.telemetry.events import EVENTS
from gateway.telemetry.events.keys import IdentityLookup, StoreFault
from gateway.telemetry.events.peers import (
    CallerSuppliedKey,
    CatalogMiss,
    IssuerFault,
    NameLookup,
    UpstreamFailure,
    UpstreamRetry,
)
from gateway.telemetry.exposition import content_type
from gateway.telemetry.gauge import State
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record
from gateway.telemetry.status import (
    BudgetStatus,
    IssuerStatus,
    KeyStatus,
    ShareStatus,
    SlotStatus,
    StoreStatus,
    moment,
)
from gateway.telemetry.tally import DURATIONS
from tests.support.record import record

PREFIX = "productlane_gateway_"
CALLERS, ENDPOINTS, KEYS = ("billing", "support"), ("GET /threads/{id}", "POST /threads"), ("main",)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

# The labels of each metric.
LABELS = {
    "circuit_state": set(),
    "restart_needed": set(),
    "policy_expires_timestamp_seconds": {"caller"},
    "certificate_issued_timestamp_seconds": set(),
    "certificate_expires_timestamp_seconds": set(),
    "requests_total": {"caller", "endpoint", "status", "source"},
    "auth_responses_total": {"status", "code", "source", "caller", "endpoint", "key"},
    "request_duration_seconds": {"lane", "source"},
    "upstream_duration_seconds": {"lane", "source"},
    "in_flight_requests": set(),
    "policy_decisions_total": {"caller", "decision", "reason"},
    "identity_lookups_total": {"key", "result"},
    "key_info": {"key", "slot", "preview", "workspace", "api_key_id"},
    "key_state": {"key", "slot", "state"},
    "key_last_used_timestamp_seconds": {"key", "slot"},
    "key_scopes_missing": {"key"},
    "key_scopes_excess": {"key"},
    "budget_remaining": {"key", "lane"},
    "budget_limit": {"key", "lane"},
    "budget_lowest": {"key", "lane"},
    "budget_expected": {"key", "lane"},
    "budget_reset_timestamp_seconds": {"key", "lane"},
    "budget_caller_share": {"key", "lane", "caller"},
    "budget_caller_used": {"key", "lane", "caller"},
    "budget_caller_waiting": {"key", "lane", "caller"},
    "pacing_wait_seconds": {"lane"},
    "pacing_queue_length": {"key", "lane"},
    "upstream_retries_total": {"reason"},
    "upstream_failures_total": {"error"},
    "name_lookups_total": {"use", "result"},
    "caller_supplied_keys_total": {"caller", "version"},
    "config_reloads_total": {"outcome"},
    "config_last_reload_successful": set(),
    "config_last_reload_success_timestamp_seconds": set(),
    "log_lines_dropped_total": set(),
    "admin_connections_refused_total": {"scope"},
    "catalog_misses_total": {"endpoint"},
    "request_fields_refused_total": {"kind"},
    "limits_reached_total": {"limit"},
    "tls_handshake_failures_total": {"reason"},
    "store_faults_total": {"use"},
    "store_up": {"kind", "use"},
    "key_scopes_unknown": {"key"},
    "key_wide": {"key"},
    "key_source_fault": {"key", "slot"},
    "issuer_faults_total": {"issuer"},
    "issuer_up": {"issuer"},
    "issuer_keys_age_seconds": {"issuer"},
    "build_info": {"version", "python", "aiohttp"},
}


def facts() -> tuple[KeyStatus, ...]:
    """A key with a secret in use and one that is refused."""
    return (
        KeyStatus(
            "main",
            (
                SlotStatus("1", "active", "abcd", "wks_1", "key_1", ("threads:read",), 3.0, moment(1700000000.0)),
                SlotStatus("2", "rejected", "efgh"),
            ),
            missing=(),
            excess=("admin", "docs:read"),
            unknown=("admin",),
            wide=True,
        ),
    )


def recorded() -> Metrics:
    """Metrics that know the config's names."""
    metrics = Metrics(clock=lambda: 1700000000.0)
    metrics.know(callers=CALLERS, endpoints=ENDPOINTS, keys=KEYS, issuers=["github"])
    return metrics


def share(caller: str) -> ShareStatus:
    return ShareStatus(caller, weight=1, share=500, used=2, waiting=0)


@pytest.fixture
def metrics() -> Metrics:
    return recorded()


@pytest.fixture
def busy(metrics: Metrics) -> Metrics:
    """Metrics in which everything has happened once."""
    metrics.watch(
        lambda: State(
            keys=facts(),
            budgets={
                ("main", "read"): BudgetStatus(
                    1000, 998, moment(1700000060), 990, 17, callers=(share("billing"), share("gone"))
                ),
                ("main", "write"): BudgetStatus(60, 60, waiting=4),
                ("gone", "write"): BudgetStatus(60, 60, moment(1700000060), waiting=1),
            },
            store=StoreStatus("redis", "redis://r:6379/0", {"write": "OutOfMemoryError"}),
            policy_expires={"billing": 1700000000.0},
            certificate=(1700000000.0, 1800000000.0),
            issuers=(IssuerStatus("github", "https://issuer.test", True, 2, 7.0),),
        )
    )
    metrics.watch_log(lambda: 7)
    metrics.config_loaded(ok=True, now=1700000000.0)
    for event in (
        IdentityLookup("main", "hit"),
        UpstreamRetry("closed"),
        UpstreamFailure("dns_error"),
        NameLookup("upstream", "ok"),
        CatalogMiss("GET /threads/{id}", "main", [], "", first=True),
        StoreFault("redis", "read", "", first=True),
        CallerSuppliedKey("billing", "v1"),
        IssuerFault("github", "", first=True),
    ):
        metrics.counters[type(event)].count(event)
    metrics.in_flight += 2
    seen = record(endpoint="GET /threads/{id}", status=403, code="scope_required", wait_ms=120.0)
    seen.upstream_ms, seen.duration_ms = 80.0, 81.0
    metrics.count(seen)
    metrics.refresh()
    return metrics


def series(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the gateway's own metrics, as Prometheus would read it."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    }


def value(metrics: Metrics, name: str, **at: str) -> float | None:
    return series(metrics).get((name, frozenset(at.items())))


def test_every_metric_has_the_labels_that_dashboards_rely_on(busy: Metrics) -> None:
    """These names and labels are all there, and no others are."""
    suffixes = ("_bucket", "_count", "_sum")
    found: dict[str, set[str]] = {}
    for name, at in series(busy):
        for suffix in suffixes:
            name = name.removesuffix(suffix)
        found.setdefault(name, set()).update(label for label, _ in at if label != "le")

    assert found == LABELS


def test_the_exposition_is_clean(busy: Metrics) -> None:
    """``promtool check metrics`` has nothing to say against it."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=busy.render(), capture_output=True, check=False, timeout=60
    )

    assert (0, b"", b"") == (checked.returncode, checked.stdout, checked.stderr)


def test_no_created_series_and_the_process_itself_is_there(busy: Metrics) -> None:
    """Storage is not doubled by ``_created`` series; memory, CPU and descriptors of the process are exported."""
    text = busy.render().decode()

    assert "_created" not in text
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= set(text.split())


def test_openmetrics_is_given_to_who_asks(busy: Metrics) -> None:
    """A scraper that asks for OpenMetrics gets it, valid and complete."""
    text = busy.render(OPENMETRICS).decode()
    families = {family.name for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]

    assert {f"{PREFIX}{name.removesuffix('_total')}" for name in LABELS} <= families


def test_a_request_is_counted_once_under_its_own_labels(busy: Metrics) -> None:
    """One finished request is one request, one decision, one authorisation answer and one time each way."""
    lane = {"lane": "read", "source": "upstream"}
    where = {"caller": "billing", "endpoint": "GET /threads/{id}", "status": "403", "source": "upstream"}

    assert 1 == value(busy, "requests_total", **where)
    assert 1 == value(busy, "policy_decisions_total", caller="billing", decision="allow", reason="scope_held")
    assert 1 == value(busy, "auth_responses_total", **where, code="scope_required", key="main")
    assert 0.08 == value(busy, "upstream_duration_seconds_sum", **lane)
    assert 0.081 == value(busy, "request_duration_seconds_sum", **lane)
    assert 2 == value(busy, "in_flight_requests")


def test_answers_that_say_nothing_of_rights_are_no_auth_responses(metrics: Metrics) -> None:
    """Only 401, 403 and 410 count as authorisation answers; a request that never left has no upstream time."""
    for status in (200, 404, 429, 500):
        metrics.count(Record(caller="billing", endpoint="POST /threads", status=status, lane="write"))
    names = {name for name, _ in series(metrics)}

    assert {"requests_total", "request_duration_seconds_count"} <= names
    assert not {"auth_responses_total", "upstream_duration_seconds_count", "policy_decisions_total"} & names


@pytest.mark.parametrize("status", [401, 403, 410])
def test_an_unknown_caller_is_counted_too(metrics: Metrics, status: int) -> None:
    """A caller that is refused before it is identified counts under ``-``, with no key."""
    metrics.count(Record(status=status, code="unauthenticated", decision="deny", reason="credential_unknown"))
    at = {"caller": "-", "endpoint": "other", "status": str(status), "source": "gateway", "key": "-"}

    assert 1 == value(metrics, "auth_responses_total", **at, code="unauthenticated")


def test_the_state_of_each_secret_is_shown(busy: Metrics) -> None:
    """Exactly one state of a secret is 1, and the time it was last sent shows whether it may be revoked."""
    states = {
        dict(at)["state"]: dict(at)["slot"]
        for (name, at), number in series(busy).items()
        if name == "key_state" and number
    }

    assert {"active": "1", "rejected": "2"} == states
    assert 1700000000.0 == value(busy, "key_last_used_timestamp_seconds", key="main", slot="1")
    assert None is value(busy, "key_last_used_timestamp_seconds", key="main", slot="2")
    assert 0 == value(busy, "key_scopes_missing", key="main")
    assert 2 == value(busy, "key_scopes_excess", key="main")
    assert (1, 1) == (value(busy, "key_scopes_unknown", key="main"), value(busy, "key_wide", key="main"))


def test_drift_is_not_claimed_while_scopes_are_unknown(metrics: Metrics) -> None:
    """No alert fires on a key about which nothing is known yet."""
    metrics.watch(lambda: State(keys=(KeyStatus("main", (SlotStatus("1", "unverified", "abcd"),)),)))
    metrics.refresh()

    drift = {"key_scopes_missing", "key_scopes_excess", "key_scopes_unknown", "key_wide"}

    assert not drift & {name for name, _ in series(metrics)}


def test_a_failed_reload_shows_and_keeps_the_time_of_the_last_good_one(metrics: Metrics) -> None:
    """After a broken config the process says so, and since when it runs on the last good one."""
    before = {name for name, _ in series(metrics)}
    metrics.config_loaded(ok=True, now=100.0)
    metrics.config_loaded(ok=False, now=200.0)

    assert "config_last_reload_successful" not in before
    assert 0 == value(metrics, "config_last_reload_successful")
    assert 100 == value(metrics, "config_last_reload_success_timestamp_seconds")
    assert (1, 1) == tuple(value(metrics, "config_reloads_total", outcome=o) for o in ("success", "failure"))


def test_budgets_are_those_of_the_status(busy: Metrics) -> None:
    """The gauges of a key and lane, and of each of the configuration's callers, are what the status page shows."""
    at = {"key": "main", "lane": "read"}
    names = ("remaining", "limit", "lowest", "expected", "reset_timestamp_seconds")

    assert [998, 1000, 990, 17, 1700000060] == [value(busy, f"budget_{name}", **at) for name in names]
    assert [500, 2] == [value(busy, f"budget_caller_{name}", **at, caller="billing") for name in ("share", "used")]
    assert 4 == value(busy, "pacing_queue_length", key="main", lane="write")


def test_a_budget_that_no_answer_has_told_is_not_shown(busy: Metrics) -> None:
    """Metrics show no default limits as if they had been read, and no removed callers or keys."""
    shown = [at for name, at in series(busy) if name.startswith("budget_")]

    assert shown
    assert not {pair for at in shown for pair in at} & {("lane", "write"), ("caller", "gone"), ("key", "gone")}


def test_names_that_left_the_config_leave_the_metrics(busy: Metrics) -> None:
    """A caller or key that was removed leaves no series behind, so reloads cannot pile them up."""
    busy.watch(State)
    busy.refresh()
    busy.know(callers=["support"], endpoints=ENDPOINTS, keys=["new"])

    assert not {pair for _, at in series(busy) for pair in at} & {("caller", "billing"), ("key", "main")}


def test_counts_of_kinds_that_are_many_are_kept(metrics: Metrics) -> None:
    """However many kinds of answers an upstream makes up, memory is bounded and no request is lost."""
    for number in range(50_000):
        metrics.count(Record(caller="billing", endpoint="POST /threads", status=403, code=str(number)))
    at = {"caller": "billing", "endpoint": "POST /threads", "status": "403", "source": "gateway"}

    assert 50_000 == value(metrics, "requests_total", **at)
    assert 50_000 == value(metrics, "auth_responses_total", **at, code="other", key="-")
    assert len(metrics._tally._kinds) <= 20_000


def test_nothing_is_lost_at_a_scrape_or_a_reload(metrics: Metrics) -> None:
    """Counts continue after any scrape and any change of labels."""
    at = {"caller": "billing", "endpoint": "POST /threads", "status": "200", "source": "upstream"}
    record = Record(caller="billing", endpoint="POST /threads", status=200, source="upstream", decision="allow")
    found = []
    for _ in range(3):
        metrics.count(record)
        found.append(value(metrics, "requests_total", **at))
        metrics.know(callers=CALLERS, endpoints=ENDPOINTS, keys=KEYS)
        found.append(value(metrics, "requests_total", **at))

    assert [1, 1, 2, 2, 3, 3] == found


def test_label_values_are_escaped(metrics: Metrics) -> None:
    """A name with quotes, backslashes and line breaks comes back from a parser as it was."""
    name = 'a "name" with \\ and \n in it'
    metrics.watch(lambda: State(policy_expires={name: 1.5}))
    metrics.refresh()

    assert 1.5 == value(metrics, "policy_expires_timestamp_seconds", caller=name)
    (found,) = [
        sample
        for family in openmetrics_families(metrics.render(OPENMETRICS).decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.name == f"{PREFIX}policy_expires_timestamp_seconds"
    ]
    assert {"caller": name} == found.labels


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        (OPENMETRICS, True),
        ("text/html, application/openmetrics-text;version=0.0.1;q=0.5", True),
        ("application/openmetrics-text; version=nonsense", False),
        ("application/openmetrics-textual", False),
        (",;,=", False),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(metrics: Metrics, accept: str, openmetrics: bool) -> None:
    """For any ``Accept`` the media type matches the text's format."""
    assert content_type(accept).startswith("application/openmetrics-text" if openmetrics else "text/plain")
    assert metrics.render(accept).endswith(b"# EOF\n") is openmetrics


def test_buckets_are_where_the_times_are() -> None:
    """Buckets ascend, separate local answers (5 ms) from upstream ones, and reach the time-out for a first byte."""
    assert all(low < high for low, high in pairwise(DURATIONS))
    assert {0.005, 5.0, 60.0} <= set(DURATIONS)


@given(st.lists(st.floats(0, 200_000, allow_nan=False), max_size=30))
def test_buckets_count_as_the_slow_way_does(times: list[float]) -> None:
    """A bucket counts exactly the requests that took at most its bound, and the last counts all."""
    metrics = recorded()
    for ms in times:
        metrics.count(Record(lane="read", duration_ms=ms))
    at = {"lane": "read", "source": "gateway"}
    expected = {b: sum(ms / 1000 <= b for ms in times) for b in DURATIONS} | {float("inf"): len(times)}
    found = {
        float(dict(labels_)["le"]): number
        for (name, labels_), number in series(metrics).items()
        if name == "request_duration_seconds_bucket" and at.items() <= dict(labels_).items()
    }

    assert (expected if times else {}) == found


words = st.one_of(st.text(max_size=8), st.sampled_from([*CALLERS, *ENDPOINTS, *KEYS, "-", "other", "read", "upstream"]))
records = st.builds(
    Record,
    caller=words,
    endpoint=words,
    method=words,
    status=st.one_of(st.sampled_from([200, 401, 403, 410]), st.integers(-1, 1000)),
    code=words,
    source=words,
    decision=st.one_of(words, st.sampled_from(["allow", "deny", "would_deny"])),
    reason=words,
    key=words,
    slot=words,
    lane=words,
    upstream_ms=st.one_of(st.none(), st.floats(0, 1e6)),
    duration_ms=st.floats(0, 1e6),
)


# Counters of few series, and the label values of one of them.
FROM_ZERO = {
    "config_reloads_total": {"outcome": "failure"},
    "identity_lookups_total": {"key": "main", "result": "stale"},
    "name_lookups_total": {"use": "upstream", "result": "timeout"},
    "store_faults_total": {"use": "write"},
    "upstream_failures_total": {"error": "tls_certificate_error"},
    "upstream_retries_total": {"reason": "key"},
}


@pytest.mark.parametrize("name", FROM_ZERO)
def test_a_first_fault_is_a_rise(name: str, metrics: Metrics) -> None:
    """Every series starts at zero, so the first fault shows as a rise."""
    assert 0 == value(metrics, name, **FROM_ZERO[name])


@settings(max_examples=50)
@given(st.lists(records, max_size=40), st.lists(st.tuples(words, words), max_size=20))
def test_hostile_input_adds_no_label_values(junk: list[Record], pairs: list[tuple[str, str]]) -> None:
    """Whatever requests carry, labels take only names of the config and values of closed lists: series are bounded."""
    metrics = recorded()
    for made in junk:
        metrics.count(made)
    for one, two in pairs:
        for event in EVENTS:
            if event.counter is not None:
                needed = event.__struct_fields__[: len(event.__struct_fields__) - len(event.__struct_defaults__)]
                texts = {label: two if n else one for n, label in enumerate(event.counter.labels)}
                metrics.counters[event].count(event(**dict.fromkeys(needed, "") | texts))
    allowed = {
        "caller": {*CALLERS, "-", "other"},
        "endpoint": {*ENDPOINTS, "other"},
        "key": {*KEYS, "-", "other"},
        "status": {*labels.STATUSES.values(), "other"},
        "source": labels.SOURCES | {"other"},
        "code": labels.CODES | {"other"},
        "decision": labels.DECISIONS,
        "reason": labels.REASONS | labels.RETRIES | labels.HANDSHAKE_FAILURES | {"other"},
        "limit": labels.LIMITS | {"other"},
        "result": labels.LOOKUPS | labels.LOOKUP_RESULTS | {"other"},
        "error": labels.FAILURES | {"other"},
        "version": labels.KEY_VERSIONS | {"other"},
        "lane": {*labels.LANES, "other"},
        "issuer": {"github", "other"},
        "scope": {"address", "all", "other"},
        "outcome": {"success", "failure"},
        "kind": {"memory", *FIELD_CLASSES},
        "use": {*labels.STORE_USES, *labels.NAME_USES, "other"},
    }
    strange = {
        (label, text)
        for name, at in series(metrics)
        for label, text in at
        if name != "build_info" and label != "le" and text not in allowed[label]
    }

    assert set() == strange
