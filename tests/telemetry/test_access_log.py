"""The log read back."""

from pathlib import Path

from gateway.telemetry.access_log import AccessLog, Seen, read_access_log
from gateway.telemetry.events.process import Stopped
from gateway.telemetry.log import Log
from gateway.telemetry.record import Record

FIRST, LAST = "2026-11-24T06:01:00Z", "2026-11-24T06:03:07Z"


def line(time: str, caller: str = "app", decision: str = "allow", endpoint: str = "GET /tags") -> bytes:
    """A line as `gateway.telemetry.log` writes it, with as much as is read."""
    text = f'{{"time":"{time}","caller":"{caller}","endpoint":"{endpoint}","method":"GET","decision":"{decision}"}}\n'
    return text.encode()


def test_it_reads_what_the_gateway_writes(tmp_path: Path) -> None:
    """A log of this version is read back whole: requests are counted, events are not."""
    path = tmp_path / "log"
    with path.open("wb") as stream:
        log = Log(stream.fileno(), clock=lambda: 1_790_000_000.5)
        log.event(Stopped())
        log.request(Record(caller="app", endpoint="GET /tags", status=200, decision="would_deny"))
        log.request(Record(caller="app", status=404, decision="deny"))
        log.request(Record(status=400))
        log.close()
    with path.open("rb") as stream:
        found = read_access_log(stream)

    moment = "2026-09-21T14:13:20Z"
    assert 0 == found.unreadable
    assert Seen(3, moment, moment) == found.all
    assert {
        ("app", "GET /tags", "would_deny"): Seen(1, moment, moment),
        ("app", "other", "deny"): Seen(1, moment, moment),
    } == found.requests


def test_requests_are_counted_by_who_what_and_how() -> None:
    """Callers, endpoints and decisions are apart; the first and the last time are those of all lines, in any order."""
    lines = [
        line("2026-11-24T06:03:07.900Z"),
        line("2026-11-24T06:01:00.001Z"),
        line("2026-11-24T06:02:00.000Z", decision="deny"),
        line("2026-11-24T06:02:00.000Z", caller="other"),
    ]
    found = read_access_log(lines)

    assert Seen(4, FIRST, LAST) == found.all
    assert Seen(2, FIRST, LAST) == found.requests["app", "GET /tags", "allow"]
    assert 3 == len(found.requests)


def test_a_prefix_is_cut() -> None:
    """What `kubectl logs --prefix` or a collector puts before a line does not hide it."""
    found = read_access_log([b"[pod/gateway-1/gateway] " + line("2026-11-24T06:01:00.001Z")])

    assert (1, 0) == (found.all.count, found.unreadable)


def test_what_is_no_line_of_this_log_is_counted() -> None:
    """Other text, half a line or wrong types count as unreadable and change nothing else; empty lines are ignored."""
    bad = [b"Traceback\n", b'{"time":"2026', b'{"endpoint": 5}\n', b"\xff{\xff}\n"]
    found = read_access_log([*bad, b"\n", line("2026-11-24T06:01:00.001Z")])

    assert (1, 4) == (found.all.count, found.unreadable)


def test_several_logs_are_added() -> None:
    """The logs of replicas are counted together."""
    log = AccessLog()
    for _ in range(2):
        read_access_log([line("2026-11-24T06:01:00.001Z")], log)

    assert Seen(2, FIRST, FIRST) == log.requests["app", "GET /tags", "allow"]
