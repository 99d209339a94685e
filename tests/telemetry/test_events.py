"""`gateway.telemetry.events`: an event is one value, and its class defines its log line and its counter."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.event import LEVELS, Event
from gateway.telemetry.events import EVENTS, LOG_EVENTS
from gateway.telemetry.events.keys import IdentityLookup, SecretStateChanged, StoreBack, StoreFault
from gateway.telemetry.events.peers import CatalogMiss
from gateway.telemetry.events.process import Reload
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.reporter import Reporter
from gateway.telemetry.usage import Usage
from tests.support.documents import ROOT, section

Report = Callable[[Event], list[dict[str, object]]]


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.know(callers=["app"], endpoints=["GET /tags"], keys=["main"])
    return metrics


@pytest.fixture
def report(tmp_path: Path, metrics: Metrics) -> Report:
    """Emit an event; the lines that it leaves in the log."""

    def emit(event: Event) -> list[dict[str, object]]:
        fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        log = Log(fd, level="debug")
        Reporter(log, metrics, Usage()).emit(event)
        log.close(timeout=30)
        os.close(fd)
        return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    return emit


def count(metrics: Metrics, name: str, **at: str) -> float | None:
    """One series of a counter, with all of its labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    found = (
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"productlane_gateway_{name}_total" and sample.labels == at
    )
    return next(found, None)


def test_an_event_is_a_line_of_the_log(report: Report) -> None:
    """The log line of an event has its name and its fields, in order."""
    (line,) = report(StoreBack("redis", "read"))

    assert ["time", "level", "event", "store", "use"] == list(line)
    assert ("info", "store_back", "redis", "read") == tuple(line.values())[1:]


def test_fields_without_a_value_and_those_for_the_metric_alone_are_left_out(report: Report) -> None:
    """A line omits unknown values and fields that only decide its level."""
    (reload,) = report(Reload("unchanged"))
    (change,) = report(SecretStateChanged("main", "1", "abcd", "active", "rejected", "401", alarming=True))

    assert ["time", "level", "event", "outcome"] == list(reload)
    assert "alarming" not in change


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (Reload("success", 1, 1, 0.1), "info"),
        (Reload("failure", problems=["x"]), "error"),
        (SecretStateChanged("main", "1", "", "", "active", "", alarming=False), "info"),
        (SecretStateChanged("main", "1", "", "", "rejected", "", alarming=True), "warning"),
        (StoreFault("redis", "read", "x", first=True), "warning"),
        (CatalogMiss("GET /tags", "main", [], "x", first=True), "warning"),
    ],
)
def test_the_level_says_how_grave_it_is(report: Report, event: Event, level: str) -> None:
    """An event that needs attention is a warning or an error."""
    (line,) = report(event)

    assert level == line["level"]


@pytest.mark.parametrize(
    "event", [StoreFault("redis", "read", "x", first=False), CatalogMiss("GET /tags", "main", [], "x", first=False)]
)
def test_what_goes_on_is_counted_and_logged_once(report: Report, event: Event) -> None:
    """A fault that lasts does not fill the log."""
    assert [] == report(event)


def test_an_event_is_counted(report: Report, metrics: Metrics) -> None:
    """An event increases its counter by one, with the event's labels."""
    report(IdentityLookup("main", "hit"))

    assert 1 == count(metrics, "identity_lookups", key="main", result="hit")
    assert 0 == count(metrics, "identity_lookups", key="main", result="stale")


def test_a_value_outside_its_list_counts_as_other(report: Report, metrics: Metrics) -> None:
    """No text of a peer becomes a label value."""
    report(IdentityLookup("nobody's", "surprise"))

    assert 1 == count(metrics, "identity_lookups", key="other", result="other")


def test_a_name_that_left_the_configuration_leaves_its_counter(report: Report, metrics: Metrics) -> None:
    """A reload removes the series of removed keys."""
    report(IdentityLookup("main", "hit"))

    metrics.know(callers=[], endpoints=[], keys=["other_key"])

    assert count(metrics, "identity_lookups", key="main", result="hit") is None


def test_the_list_of_events_is_closed() -> None:
    """Each event has a log line, a counter or both; names are unique words; labels are fields."""
    names = [event.name for event in EVENTS if event.name]

    assert sorted(LOG_EVENTS) == sorted(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)
    assert [] == [event for event in EVENTS if not event.name and event.counter is None]
    assert {event.level for event in EVENTS} <= set(LEVELS)
    for event in EVENTS:
        assert event.counter is None or set(event.counter.labels) <= set(event.__struct_fields__)
        assert event.untold <= set(event.__struct_fields__)


def test_an_event_does_not_change() -> None:
    """An event is immutable: assigning to a field raises an error."""
    with pytest.raises(AttributeError):
        StoreBack("redis", "read").use = "write"  # type: ignore[misc]


def row(event: type[Event]) -> str:
    """The row of an event in the table of docs/logs.md, derived from its class."""
    fields = zip(event.__struct_fields__, event.__struct_encode_fields__, strict=True)
    shown = ", ".join(f"`{name}`" for field, name in fields if field not in event.untold)
    return f"| `{event.name}` | {shown} | {' '.join((event.__doc__ or '').split())} |"


def test_every_event_is_documented() -> None:
    """docs/logs.md has a row for each event of the log, in the words of its class, and no other row."""
    rows = re.findall(
        r"^\| `.*$", section("Events", (ROOT / "docs" / "logs.md").read_text("utf-8")), flags=re.MULTILINE
    )

    assert [row(event) for event in EVENTS if event.name] == rows
