"""`gateway.runtime.server`: start, readiness, signals and the end of a process."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp.http_parser
import pytest

from gateway.net.sockets import CannotStart
from gateway.runtime.server import check_runtime, serve
from tests.support.deadline import DEADLINE, eventually
from tests.support.in_process import Running, policy, running
from tests.support.raw_caller import head
from tests.support.recording import Upstream, answer

Start = Callable[..., Any]


async def test_a_gateway_that_started_is_ready(run: Running) -> None:
    """Both listeners are open, and readiness and liveness say so."""
    ready, alive, served = await run.admin("/readyz"), await run.admin("/livez"), await run.ask()

    assert [200, 200, 200] == [response.status for response in (ready, alive, served)]


async def test_an_outage_of_the_upstream_does_not_make_it_unready(tmp_path: Path, upstream: Upstream) -> None:
    """Readiness depends on local facts only: an upstream that is down must not make every replica unready."""
    upstream.url = "http://127.0.0.1:9/api/v2"
    async with running(tmp_path, upstream, identity={"prefetch": True}) as run:
        failed = await run.ask()

        assert (502, 200) == (failed.status, (await run.admin("/readyz")).status)


async def test_keys_are_looked_up_at_the_start(start: Start) -> None:
    """With `identity.prefetch` the first request finds its key known."""
    run = await start(identity={"prefetch": True})
    await run.upstream.until(lambda: run.upstream.lookups)
    await run.ask()

    assert 1 == len(run.upstream.lookups)
    assert 1 == await run.metric("identity_lookups_total", key="main", result="hit")


async def test_a_folder_whose_name_is_no_text_is_shown(tmp_path: Path, upstream: Upstream) -> None:
    """A gateway with files under a path that is not UTF-8 shows its status, with `?` for bytes it cannot decode."""
    async with running(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), upstream) as run:
        page, status = await run.admin("/status"), await run.admin("/status.json")

    assert (200, 200) == (page.status, status.status)
    assert status.json["config"] == f"{tmp_path}/?/gateway.yaml"
    assert f"{tmp_path}/?/gateway.yaml" in page.body.decode()


@pytest.mark.parametrize(
    "strange",
    [{"workspace_id": "\ud800"}, {"api_key_id": "\udfff"}, {"scopes": ["\ud800:read"]}, {"workspace_id": "\x1b[2J"}],
    ids=["id", "key", "scope", "escape"],
)
async def test_no_answer_of_me_blinds_who_watches(start: Start, upstream: Upstream, strange: dict[str, Any]) -> None:
    """A `/me` answer with a lone surrogate, which UTF-8 cannot encode, or with what a terminal would obey, is refused;
    the admin port still works.
    """
    upstream.me = answer(200, json.dumps({"workspace_id": "w", "api_key_id": "k", "scopes": [], **strange}).encode())
    run = await start()
    served = await run.ask()
    statuses = [(await run.admin(path)).status for path in ("/metrics", "/status", "/status.json")]

    assert (200, [200, 200, 200]) == (served.status, statuses)
    assert "the answer is not an identity" == (await run.events("identity_unknown"))[0]["reason"]


@pytest.mark.parametrize("listener", ["listen", "admin"])
async def test_an_address_in_use_is_one_line(tmp_path: Path, upstream: Upstream, listener: str) -> None:
    """A listener that cannot listen says which, where and why; nothing stays open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings: dict[str, Any] = {listener: address}
        with pytest.raises(CannotStart) as caught:
            async with running(tmp_path, upstream, **settings):
                pass

    name = "traffic" if listener == "listen" else "admin"
    assert f"the {name} listener cannot listen on {address}: " in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_what_was_opened_is_closed(start: Start, upstream: Upstream) -> None:
    """After `stop` no upstream connection is left, and no socket listens any more."""
    run = await start()
    await run.ask()
    caller = await run.connect()
    await caller.send(head())
    await caller.response()
    await run.stop()
    await upstream.until(lambda: upstream.open == 0)

    assert b"" == await caller.closed()
    for address in (run.gateway.traffic, run.gateway.admin):
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(address.host, address.port)


def test_debug_mode_is_refused() -> None:
    """asyncio's debug mode logs failures with their data, keys included, so the process does not start."""
    with pytest.raises(CannotStart, match="debug mode"):
        check_runtime(debug=True)


def test_a_weaker_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its C parser aiohttp reads requests more laxly, so the process does not start."""
    weaker = aiohttp.http_parser.HttpRequestParserPy
    monkeypatch.setattr(aiohttp.http_parser, "HttpRequestParser", weaker)
    with pytest.raises(CannotStart, match="C parser"):
        check_runtime(debug=False)


def test_an_ordinary_interpreter_is_fit() -> None:
    """Started as it should be, nothing is said."""
    check_runtime(debug=False)


def test_the_parser_check_holds_in_a_real_process() -> None:
    """aiohttp's own switch to the weaker parser is noticed, whatever way it was turned."""
    program = "from gateway.runtime.server import check_runtime; check_runtime(debug=False)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert 1 == run.returncode
    assert "CannotStart" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_a_second_one_ends_it(start: Start, number: signal.Signals) -> None:
    """After SIGTERM or SIGINT requests in progress may finish; a second signal ends the wait."""
    run = await start(drain={"delay": "5s", "timeout": "1m"})
    run.upstream.reply = run.upstream.hang
    # What `serve` adds to a gateway is the signals and the drain.
    served = asyncio.create_task(serve(contextlib.nullcontext(run.gateway)))
    caller = await run.connect()
    await caller.send(head())
    await run.upstream.until(lambda: run.upstream.arrivals)
    os.kill(os.getpid(), number)

    async def not_ready() -> bool:
        return bool((await run.admin("/readyz")).status != 200)

    await eventually(not_ready)
    waiting = served.done()
    os.kill(os.getpid(), number)
    response = await caller.response()
    async with asyncio.timeout(DEADLINE):
        await served

    assert waiting is False
    assert (503, "draining") == (response.status, response.code)


async def test_callers_that_go_on_asking_lose_nothing(start: Start) -> None:
    """During a drain every request gets its answer, and every caller gets `Connection: close` before the end."""
    run = await start(drain={"delay": "1s", "timeout": "5s"})
    served = 0

    async def go_on(number: int) -> str:
        """Ask on one connection until an answer closes it."""
        nonlocal served
        body = b"x" * 100_000 if number % 4 == 0 else b""
        request = head("POST", "/api/v2/threads", f"Content-Length: {len(body)}") + body if body else head()
        caller = await run.connect()
        while True:
            await caller.send(request)
            response = await caller.response()
            served += 1
            if response.get("connection") == "close":
                return f"{response.status} then {await caller.closed()!r}"

    callers = [asyncio.create_task(go_on(number)) for number in range(24)]

    async def busy() -> bool:
        return served >= 100

    await eventually(busy)
    async with asyncio.timeout(DEADLINE):
        await run.gateway.drain(asyncio.Event())
        ends = await asyncio.gather(*callers)

    assert ["200 then b''"] * 24 == ends
    assert served == len(run.upstream.arrivals)


async def test_a_key_that_has_to_be_made_anew_is_shown_with_its_scopes(start: Start) -> None:
    """If no secret of a key works, `/status` shows which of its scopes policies use."""
    run = await start(policies=[policy(scopes=["threads:read"])])
    run.upstream.scopes = {}
    refused = await run.ask()
    (key,) = (await run.admin("/status.json")).json["keys"]

    assert (502, "rejected") == (refused.status, key["slots"][0]["state"])
    assert ["policies use threads:read of it"] == key["advice"]


async def test_the_token_for_the_status_is_read_anew(start: Start, tmp_path: Path) -> None:
    """A change of the `status_token` file applies at once, and an unreadable file admits no other host."""
    file = tmp_path / "status-token"
    file.write_text("first\n")
    file.chmod(0o600)
    run = await start(status_token=f"file:{file}")
    seen = [run.gateway.parts.facts.status_token()]
    file.write_text("second\n")
    seen.append(run.gateway.parts.facts.status_token())
    file.unlink()

    assert ["first", "second", None] == [*seen, run.gateway.parts.facts.status_token()]
