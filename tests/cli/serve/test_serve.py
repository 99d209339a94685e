"""`gateway.cli.serve.serve`: the gateway as a process, from its start to its end."""

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import Running, run, running
from tests.support.in_process import config, policy
from tests.support.raw_caller import ask, connect, head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.sentinels import KEY

SIDECAR = {"PRODUCTLANE_KEY": KEY, "PRODUCTLANE_SCOPES": "threads:read contacts:read"}
LISTEN = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
MAIN = {"MAIN_KEY": KEY}
# Not what `drain` is by default, or each test would take as long as a real drain.
QUICK = {"PRODUCTLANE_GATEWAY_DRAIN_DELAY": "0ms"}


def write(folder: Path, upstream: str, **settings: Any) -> Path:
    """A ``gateway.yaml`` with one key and one caller, and its policy."""
    (folder / "policies").mkdir()
    (folder / "policies" / "app.yaml").write_text(yaml.safe_dump(policy()))
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config(upstream, **settings)))
    return path


async def started(gateway: Running) -> Mapping[str, Any]:
    """The event with the addresses of the listeners."""
    event: dict[str, Any] = json.loads(await gateway.line('"started"'))
    return event


@pytest.mark.parametrize("given", ["text", "file"])
async def test_a_sidecar_needs_no_file(tmp_path: Path, upstream: Upstream, given: str) -> None:
    """A key, or its source, and scopes in the environment are enough; the app sends no credential."""
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = SIDECAR | QUICK | ({"PRODUCTLANE_KEY": f"file:{tmp_path / 'key'}"} if given == "file" else {})
    async with running("serve", *LISTEN, "--upstream", upstream.url, cwd=tmp_path, environ=environ) as gateway:
        event = await started(gateway)
        ready = await ask(event["address"], head(target="/readyz", token=None))
        allowed = await ask(event["listener"], head(token=None))
        refused = await ask(event["listener"], head(target="/api/v2/companies", token=None))
        done = await gateway.end()

    assert 200 == ready.status
    assert (200, KEY) == (allowed.status, upstream.arrivals[0].bearer)
    assert (403, "scope_required") == (refused.status, refused.code)
    assert (0, "") == (done.status, done.err)
    assert KEY not in done.out


async def test_a_sidecar_can_listen_on_a_socket_of_the_pod(tmp_path: Path, upstream: Upstream) -> None:
    """With unix:/path for both listeners no port is open, and the socket is for its owner and group alone."""
    sockets = ("--listen", "unix:traffic.sock", "--admin", "unix:admin.sock", "--upstream", upstream.url)
    async with running("serve", *sockets, cwd=tmp_path, environ=SIDECAR | QUICK) as gateway:
        await started(gateway)
        ready = await ask(f"unix:{tmp_path / 'admin.sock'}", head(target="/readyz", token=None))
        allowed = await ask(f"unix:{tmp_path / 'traffic.sock'}", head(token=None))
        mode = (tmp_path / "traffic.sock").stat().st_mode & 0o777
        done = await gateway.end()

    assert (200, 200) == (ready.status, allowed.status)
    assert 0o660 == mode
    assert 0 == done.status


async def test_standard_output_is_the_log_and_nothing_else(tmp_path: Path, upstream: Upstream) -> None:
    """Whatever reads the log can take every line of standard output for JSON, from the first to the last."""
    path = write(tmp_path, upstream.url, drain={"delay": "0ms"})
    async with running("serve", "--config", path, cwd=tmp_path, environ=MAIN) as gateway:
        event = await started(gateway)
        await ask(event["listener"], head())
        done = await gateway.end()

    events = [json.loads(line) for line in done.out.splitlines()]
    told = [event.get("event", event.get("endpoint")) for event in events]
    assert ["started", "GET /threads", "draining", "stopped"] == [name for name in told if name != "key_state"]
    assert str(path) == events[0]["config"]
    assert "" == done.err


async def test_sigterm_loses_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """At SIGTERM a request in progress is completed, readiness ends at once, and the exit status is 0."""
    release = asyncio.Event()

    async def hold(_: Arrival, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(answer())

    upstream.reply = hold
    path = write(tmp_path, upstream.url, drain={"delay": "0ms", "timeout": "20s"})
    async with running("serve", "--config", path, cwd=tmp_path, environ=MAIN) as gateway:
        event = await started(gateway)
        caller = await connect(event["listener"])
        await caller.send(head())
        await upstream.until(lambda: bool(upstream.arrivals))
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.line('"draining"')
        ready = await ask(event["address"], head(target="/readyz", token=None))
        release.set()
        answered = await caller.response()
        await caller.close()
        done = await gateway.end(0)

    assert 503 == ready.status
    assert (200, b'{"ok":true}') == (answered.status, answered.body)
    assert (0, "") == (done.status, done.err)


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, upstream: Upstream) -> None:
    """A second signal cuts the drain short; the request in hand gets an answer that the gateway is stopping."""

    async def hold(_: Arrival, writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    upstream.reply = hold
    path = write(tmp_path, upstream.url, drain={"delay": "1h", "timeout": "1h"})
    async with running("serve", "--config", path, cwd=tmp_path, environ=MAIN) as gateway:
        event = await started(gateway)
        caller = await connect(event["listener"])
        await caller.send(head())
        await upstream.until(lambda: bool(upstream.arrivals))
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.line('"draining"')
        done = await gateway.end(signal.SIGINT)
        answered = await caller.response()
        await caller.close()

    assert (0, "") == (done.status, done.err)
    assert (503, "draining") == (answered.status, answered.code)


def soft_limit(pid: int) -> int:
    """The soft limit of a process's open files."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(int(line.split()[3]) for line in lines if line.startswith("Max open files"))


async def test_it_takes_the_descriptors_that_its_limits_need(tmp_path: Path, upstream: Upstream) -> None:
    """The soft limit of open files is raised so far that each connection that the settings allow finds one."""
    path = write(tmp_path, upstream.url, limits={"connections": 1000})
    ulimits = ("-Sn 1000", "-Hn 2000")
    async with running("serve", "--config", path, cwd=tmp_path, environ=MAIN, ulimits=ulimits) as gateway:
        await started(gateway)
        limit = soft_limit(gateway.process.pid)

    # Traffic, 100 connections to Productlane, and 128 for all else.
    assert 1000 + 100 + 128 == limit


async def test_limits_that_cannot_be_reached_are_reported(tmp_path: Path, upstream: Upstream) -> None:
    """If the system allows fewer open files than the settings need, the log says how many and what to change."""
    path = write(tmp_path, upstream.url, limits={"connections": 4000})
    ulimits = ("-Sn 250", "-Hn 500")
    async with running("serve", "--config", path, cwd=tmp_path, environ=MAIN, ulimits=ulimits) as gateway:
        short = json.loads(await gateway.line('"descriptors_short"'))
        limit = soft_limit(gateway.process.pid)
        await started(gateway)

    assert ("warning", 500, 4228) == (short["level"], short["limit"], short["needed"])
    assert "limits.connections" in short["reason"]
    assert 500 == limit


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "nothing is configured"),
        (SIDECAR | {"PRODUCTLANE_SCOPES": ""}, "PRODUCTLANE_SCOPES"),
        (SIDECAR | {"PRODUCTLANE_KEY": "pl_v1_abcdefgh"}, "v1 key"),
        (SIDECAR | {"PRODUCTLANE_GATEWAY_LISTEN": "0.0.0.0:8080"}, "sidecar` is anonymous"),
        (SIDECAR | {"PRODUCTLANE_GATEWAY_UPSTREAM_URL": "http://example.com"}, "loopback only"),
        (SIDECAR | {"PYTHONASYNCIODEBUG": "1"}, "PYTHONASYNCIODEBUG"),
        (SIDECAR | {"AIOHTTP_NO_EXTENSIONS": "1"}, "AIOHTTP_NO_EXTENSIONS"),
    ],
)
async def test_it_refuses_to_start_where_it_would_not_be_safe(
    tmp_path: Path, environ: dict[str, str], expected: str
) -> None:
    """One line on standard error says why, the status is 2, and no key is in it."""
    done = await run("serve", cwd=tmp_path, environ=environ)

    assert (2, "", 1) == (done.status, done.out, len(done.err.splitlines()))
    assert expected in done.err
    assert "abcdefgh" not in done.err
    assert KEY not in done.err


async def test_an_option_wins_over_a_variable_and_a_variable_over_the_file(tmp_path: Path, upstream: Upstream) -> None:
    """The command line takes precedence over the environment, and that over the file."""
    path = write(tmp_path, "http://127.0.0.1:1/api/v2", log={"level": "error", "format": "console"})
    environ = {
        "MAIN_KEY": KEY,
        "PRODUCTLANE_GATEWAY_CONFIG": str(path),
        "PRODUCTLANE_GATEWAY_UPSTREAM_URL": "http://127.0.0.1:2/api/v2",
        "PRODUCTLANE_GATEWAY_LOG_LEVEL": "info",
        "PRODUCTLANE_GATEWAY_DRAIN_DELAY": "0ms",
    }
    options = ("--upstream", upstream.url, "--log-format", "json")
    async with running("serve", *options, cwd=tmp_path, environ=environ) as gateway:
        event = await started(gateway)
        served = await ask(event["listener"], head())
        await gateway.end()

    assert 200 == served.status
    assert 1 == len(upstream.arrivals)


async def test_a_wrong_option_is_told_by_its_name(tmp_path: Path) -> None:
    """A mistake on the command line is reported as a usage error that names the option."""
    done = await run("serve", "--log-level", "loud", "--upstream", "ftp://x", cwd=tmp_path, environ=SIDECAR)

    assert 2 == done.status
    assert 2 == len(done.err.splitlines())
    assert all(line.startswith("command line: ") for line in done.err.splitlines())
    assert "--log-level" in done.err
    assert "--upstream" in done.err
