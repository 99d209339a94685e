"""`gateway.telemetry.log`: one line for each request and event, with fixed fields."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.event import Level
from gateway.telemetry.events.keys import StoreBack
from gateway.telemetry.events.process import LibraryRecord, Reload, RestartNeeded
from gateway.telemetry.log import Log
from gateway.telemetry.record import Record
from tests.support.record import record

FIELDS = [
    *("time", "level", "request_id", "caller_request_id", "upstream_request_id", "caller", "peer"),
    *("endpoint", "method", "status", "code", "source"),
    *(
        "decision",
        "reason",
        "note",
        "key",
        "slot",
        "lane",
        "wait_ms",
        "upstream_ms",
        "duration_ms",
        "bytes_in",
        "bytes_out",
    ),
    "trace_id",
]
NOON = 1_790_000_000.25


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., list[str]]:
    """The lines that a log with this level and style writes while a function uses it."""

    def write(use: Callable[[Log], object], *, level: Level = "info", console: bool = False) -> list[str]:
        path = tmp_path / "log"
        path.unlink(missing_ok=True)
        with path.open("ab") as file:
            log = Log(file.fileno(), level=level, style="console" if console else "json", clock=lambda: NOON)
            use(log)
            log.close(timeout=30)
        return path.read_text("utf-8").splitlines()

    return write


def test_a_request_is_one_json_line_with_a_fixed_set_of_fields(written: Callable[..., list[str]]) -> None:
    """Every request is one line with exactly these fields, in order."""
    (line,) = written(lambda log: log.request(record()))
    told = json.loads(line)

    assert list(told) == FIELDS
    assert ("2026-09-21T14:13:20.250Z", "info") == (told["time"], told["level"])
    assert ("billing", 200, 80.25, 81.5, 512) == tuple(
        told[name] for name in ("caller", "status", "upstream_ms", "duration_ms", "bytes_out")
    )


@given(
    st.builds(
        Record,
        **dict.fromkeys(("request_id", "caller", "endpoint", "method", "reason", "note", "trace_id"), st.text()),
        upstream_ms=st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_whatever_a_request_holds_stays_on_its_line(junk: Record) -> None:
    """No text of a caller or upstream can start a new line, in either style."""
    for style in ("json", "console"):
        read, write = os.pipe()
        with os.fdopen(read, "rb") as reader:
            log = Log(write, style=style)
            log.request(junk)
            log.close(timeout=30)
            os.close(write)
            text = reader.read().decode()

        assert 1 == text.count("\n")
        assert text.endswith("\n")
        assert style == "console" or list(json.loads(text)) == FIELDS
        assert style == "json" or text[:-1].isprintable()


def test_bytes_outside_utf8_do_not_lose_the_line(written: Callable[..., list[str]]) -> None:
    """A request with bytes that are not UTF-8 is logged."""
    lines = written(
        lambda log: (log.request(record(method="\udcff")), log.event(Reload("failure", problems=["\udcfe"])))
    )

    assert ["?", ["?"]] == [json.loads(lines[0])["method"], json.loads(lines[1])["problems"]]


@pytest.mark.parametrize(
    ("status", "source", "level"),
    [
        (200, "upstream", "info"),
        (403, "gateway", "info"),
        (403, "upstream", "info"),
        (401, "gateway", "info"),
        (401, "upstream", "warning"),
        (410, "upstream", "warning"),
        (503, "upstream", "warning"),
        (502, "gateway", "error"),
    ],
)
def test_the_level_says_whose_fault_it_was(
    written: Callable[..., list[str]], status: int, source: str, level: str
) -> None:
    """A fault of Productlane, or its refusal of the gateway's key, is a warning; a fault of the gateway is an error."""
    (line,) = written(lambda log: log.request(record(status=status, source=source)))

    assert level == json.loads(line)["level"]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(written: Callable[..., list[str]], level: Level, expected: int) -> None:
    """``log.level`` drops less severe events and requests."""

    def use(log: Log) -> None:
        log.event(LibraryRecord("debug", "some.library", None, "place:1"))
        log.request(record())
        log.event(RestartNeeded("listen"))
        log.request(record(status=500, source="gateway"))

    assert expected == len(written(use, level=level))


def test_the_console_is_for_people(written: Callable[..., list[str]]) -> None:
    """On a console a refusal shows who asked for what, why it was refused and what would change it."""
    refused = record(status=403, source="gateway", decision="deny", reason="scope_not_granted", upstream_ms=None)
    refused.note = "policy billing: does not grant threads:read"
    lines = written(
        lambda log: (log.request(record()), log.request(refused), log.event(StoreBack("redis", "read"))),
        console=True,
    )

    assert [
        "14:13:20.250 INFO    200 GET /companies/{id}  caller billing  allow: scope_held  key main/1  "
        "81.5 ms (80.2 upstream)  req_0123456789abcdef",
        "14:13:20.250 INFO    403 GET /companies/{id}  caller billing  deny: scope_not_granted  key main/1  "
        "81.5 ms  req_0123456789abcdef  policy billing: does not grant threads:read",
        "14:13:20.250 INFO    store_back  store=redis use=read",
    ] == lines
