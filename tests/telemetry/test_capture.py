"""`gateway.telemetry.capture`: libraries may log what a caller sent; this log never contains it."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.pytest_plugin import AiohttpServer

from gateway.telemetry.capture import capture_library_logs
from gateway.telemetry.event import Level
from gateway.telemetry.log import Log

KEY = "pl_v2_abcd1234efgh5678"


@contextmanager
def captured(path: Path, level: Level = "info") -> Iterator[Log]:
    """A log that has taken over what libraries say."""
    with path.open("ab") as file:
        log = Log(file.fileno(), level=level)
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
    logged = [json.loads(line) for line in path.read_text().splitlines()]

    assert KEY not in path.read_text()
    assert [("warning", "some.library", None), ("error", "some.library", "ValueError")] == [
        (line["level"], line["logger"], line.get("error")) for line in logged
    ]
    assert all(re.fullmatch(r"telemetry/test_capture\.py:\d+", line["place"]) for line in logged)


def test_libraries_are_quiet_at_every_level(tmp_path: Path) -> None:
    """At ``debug`` the log says why requests end as they do; a library's own small talk stays out of it."""
    path = tmp_path / "log"
    with captured(path, "debug"):
        logging.getLogger("asyncio").debug("poll 1 took 10 ms")
        logging.getLogger("some.library").info("connected")
        logging.getLogger("some.library").warning("lost")

    assert ["warning"] == [json.loads(line)["level"] for line in path.read_text().splitlines()]


def test_logging_is_given_back(tmp_path: Path) -> None:
    """After the end, `logging` is as it was before."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    with captured(tmp_path / "log", "debug"):
        during = root.level

    assert logging.WARNING == during
    assert before == (root.level, root.handlers)


async def test_what_aiohttp_says_of_a_bad_request_holds_none_of_it(
    tmp_path: Path, aiohttp_server: AiohttpServer
) -> None:
    """A request that aiohttp's parser refuses is quoted in aiohttp's own log, and not in this one."""
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
