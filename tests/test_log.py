"""`gateway.telemetry.log`, `lines` and `capture`: one line a request, no secrets, and never in a request's way."""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpServer
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.capture import capture_library_logs
from gateway.telemetry.lines import Lines
from gateway.telemetry.log import Level, Log
from gateway.telemetry.record import Record

FIELDS = [
    *("time", "level", "request_id", "upstream_request_id", "caller", "endpoint", "method", "status", "source"),
    *("decision", "reason", "key", "slot", "lane", "wait_ms", "upstream_ms", "duration_ms", "bytes_in", "bytes_out"),
    "trace_id",
]
KEY = "pl_v2_abcd1234efgh5678"
NOON = 1_790_000_000.25


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., list[str]]:
    """What a log at a level and in a style writes while a function uses it, as lines."""

    def write(use: Callable[[Log], object], *, level: Level = "info", console: bool = False) -> list[str]:
        path = tmp_path / "log"
        path.unlink(missing_ok=True)
        with opened(path) as fd:
            log = Log(fd, level=level, style="console" if console else "json", clock=lambda: NOON)
            use(log)
            log.close(timeout=30)
        return path.read_text("utf-8").splitlines()

    return write


def record(**told: object) -> Record:
    """A request that was served."""
    served = Record(
        request_id="req_0123456789abcdef",
        caller="billing",
        endpoint="GET /companies/{id}",
        method="GET",
        status=200,
        source="upstream",
        decision="allow",
        reason="scope_held",
        key="main",
        slot="1",
        lane="read",
        upstream_ms=80.25,
        duration_ms=81.5,
        bytes_out=512,
    )
    for name, value in told.items():
        setattr(served, name, value)
    return served


def test_a_request_is_one_json_line_with_a_fixed_set_of_fields(written: Callable[..., list[str]]) -> None:
    """Every request is one line that holds exactly the fields of DESIGN section 11, in their order."""
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
    """No text that a caller or upstream sent can begin a line of its own, in either style."""
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
    """A request with bytes that are not UTF-8 is logged all the same."""
    lines = written(lambda log: (log.request(record(method="\udcff")), log.event("info", "x", problems=["\udcfe"])))

    assert ["?", ["?"]] == [json.loads(lines[0])["method"], json.loads(lines[1])["problems"]]


@pytest.mark.parametrize(
    ("status", "source", "level"),
    [(200, "upstream", "info"), (403, "gateway", "info"), (503, "upstream", "warning"), (502, "gateway", "error")],
)
def test_the_level_says_whose_fault_it_was(
    written: Callable[..., list[str]], status: int, source: str, level: str
) -> None:
    """Served and refused requests are info; a fault of Productlane is a warning, one of the gateway an error."""
    (line,) = written(lambda log: log.request(record(status=status, source=source)))

    assert level == json.loads(line)["level"]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(written: Callable[..., list[str]], level: Level, expected: int) -> None:
    """``log.level`` keeps out what is less grave, events and requests alike."""

    def use(log: Log) -> None:
        log.event("debug", "x")
        log.request(record())
        log.event("warning", "x")
        log.request(record(status=500, source="gateway"))

    assert expected == len(written(use, level=level))


def test_an_event_is_a_line_of_the_same_log(written: Callable[..., list[str]]) -> None:
    """Start-up, reload and key changes are lines with ``event`` and their facts."""
    (line,) = written(lambda log: log.event("warning", "key_state", key="main", slot="2", state="rejected"))

    assert {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "warning",
        "event": "key_state",
        "key": "main",
        "slot": "2",
        "state": "rejected",
    } == json.loads(line)


def test_an_event_has_no_fields_of_its_own_making(written: Callable[..., list[str]]) -> None:
    """Nothing can be logged under a name that is not listed, so no header or body finds its way in."""

    def use(log: Log) -> None:
        with pytest.raises(TypeError, match="no field authorization"):
            log.event("info", "x", authorization="y")  # type: ignore[call-arg]

    assert [] == written(use)


def test_the_console_is_for_people(written: Callable[..., list[str]]) -> None:
    """On a console a refusal shows who asked for what, why it was refused and what would change it."""
    refused = record(status=403, source="gateway", decision="deny", reason="scope_not_granted", upstream_ms=None)
    refused.note = "policy billing: does not grant threads:read"
    lines = written(
        lambda log: (log.request(record()), log.request(refused), log.event("info", "started", version="1")),
        console=True,
    )

    assert [
        "14:13:20.250 INFO    200 GET /companies/{id}  caller billing  allow: scope_held  key main/1  "
        "81.5 ms (80.2 upstream)  req_0123456789abcdef",
        "14:13:20.250 INFO    403 GET /companies/{id}  caller billing  deny: scope_not_granted  key main/1  "
        "81.5 ms  req_0123456789abcdef  policy billing: does not grant threads:read",
        "14:13:20.250 INFO    started  version=1",
    ] == lines


def test_a_reader_that_is_stuck_costs_lines_and_no_time() -> None:
    """When nobody reads the log, requests go on: what does not fit is dropped and counted, what fits arrives whole."""
    read, write = os.pipe()
    lines = Lines(write, bound=10_000)
    sent = [b"%099d\n" % n for n in range(3000)]
    for line in sent:
        lines.put(line)
    stuck = lines.dropped
    with os.fdopen(read, "rb") as reader:
        arrived: list[bytes] = []
        drain = threading.Thread(target=lambda: arrived.extend(reader))
        drain.start()
        lines.close(timeout=30)
        os.close(write)
        drain.join(30)

    # A pipe holds 64 KiB; the rest of 300,000 bytes beyond the bound cannot have gone anywhere.
    assert stuck >= (300_000 - 65_536 - 10_000) // 100
    assert len(sent) == len(arrived) + lines.dropped
    assert sorted(arrived) == arrived


def test_closing_does_not_wait_for_a_reader_that_is_stuck() -> None:
    """The process can end although nobody reads its log; what is left is counted as dropped."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    lines = Lines(write)
    lines.put(b"one\n")
    lines.put(b"two\n")
    lines.close(timeout=0.2)
    counted = lines.dropped
    os.close(read)
    os.close(write)

    assert 2 == counted


@pytest.mark.parametrize("full", [True, False], ids=["full disk", "closed pipe"])
def test_a_descriptor_that_fails_costs_lines_only(full: bool) -> None:
    """A full disk or a closed pipe raises nothing into a request; each line lost is counted."""
    if full:
        fd = os.open("/dev/full", os.O_WRONLY)
    else:
        read, fd = os.pipe()
        os.close(read)
    lines = Lines(fd)
    for _ in range(3):
        lines.put(b"line\n")
    lines.close(timeout=30)
    lines.put(b"after the end\n")
    os.close(fd)

    assert 4 == lines.dropped


def test_a_descriptor_that_others_made_non_blocking_is_written_whole() -> None:
    """A terminal or pipe that another program set to non-blocking loses no line to a reader that is merely slow."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    lines = Lines(write)
    for n in range(3000):
        lines.put(b"%099d\n" % n)
    with os.fdopen(read, "rb") as reader:
        arrived: list[bytes] = []
        drain = threading.Thread(target=lambda: arrived.extend(reader))
        drain.start()
        lines.close(timeout=30)
        os.close(write)
        drain.join(30)

    assert (3000, 0) == (len(arrived), lines.dropped)


def test_a_line_cut_short_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path) -> None:
    """When the disk has room again the log goes on with a line of its own, not at the end of half a one."""
    # A limit on the file's size stands for the disk; it holds for a whole process, so it gets one of its own.
    script = """
import os, resource, sys
from gateway.telemetry.lines import Lines
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
lines = Lines(fd)
for n in range(5):
    lines.put(b"%099d\\n" % n)
while lines.dropped < 3:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
lines.put(b"again\\n")
lines.close(30)
print(lines.dropped)
"""
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=True)

    assert "3\n" == done.stdout
    assert [99, 99, 50, 5] == [len(line) for line in path.read_text().splitlines()]


@contextmanager
def captured(path: Path, level: Level = "info") -> Iterator[Log]:
    """A log that has taken over what libraries say."""
    with opened(path) as fd:
        log = Log(fd, level=level)
        restore = capture_library_logs(log)
        try:
            yield log
        finally:
            restore()
            log.close(timeout=30)


def test_library_logs_tell_where_and_never_what(tmp_path: Path) -> None:
    """A library that logs a caller's key leaves a line with its name, the place and the kind of error; not the key."""
    path = tmp_path / "log"
    library = logging.getLogger("some.library")
    with captured(path):
        library.warning("bad header %r", KEY)
        library.info("too small to tell")
        try:
            raise ValueError(f"Authorization: Bearer {KEY}")
        except ValueError:
            library.exception("failed with %s", KEY)
    told = [json.loads(line) for line in path.read_text().splitlines()]

    assert KEY not in path.read_text()
    assert [("warning", "some.library", None), ("error", "some.library", "ValueError")] == [
        (line["level"], line["logger"], line.get("error")) for line in told
    ]
    assert all(re.fullmatch(r"tests/test_log\.py:\d+", line["place"]) for line in told)


def test_logging_is_given_back(tmp_path: Path) -> None:
    """After the end, `logging` is as it was before."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    with captured(tmp_path / "log", "debug"):
        during = root.level

    assert logging.DEBUG == during
    assert before == (root.level, root.handlers)


async def test_what_aiohttp_says_of_a_bad_request_holds_none_of_it(
    tmp_path: Path, aiohttp_server: AiohttpServer
) -> None:
    """A request whose header aiohttp's parser refuses is quoted in aiohttp's own log, and not in this one."""
    path = tmp_path / "log"

    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError(KEY)

    app = web.Application()
    app.router.add_get("/", fail)
    with captured(path, "debug"):
        server = await aiohttp_server(app)
        for head in (f"Authorization: Bearer {KEY}\x01", "Connection: close"):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(f"GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode())
            await reader.read()
            writer.close()
            await writer.wait_closed()
    text = path.read_text()
    errors = [line.get("error") for line in map(json.loads, text.splitlines()) if line["logger"] == "aiohttp.server"]

    assert "RuntimeError" in errors
    assert KEY not in text
