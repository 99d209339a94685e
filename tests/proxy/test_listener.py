"""`gateway.proxy.listener`: which connections are accepted, for how long, and how malformed bytes are answered."""

import asyncio
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.net.sockets import CannotStart
from tests.support.deadline import eventually
from tests.support.in_process import Running, running
from tests.support.raw_caller import head
from tests.support.recording import Upstream, answer
from tests.support.turns import ready_have_run

Start = Callable[..., Any]


async def test_a_refused_body_leaves_an_idle_connection_idle(start: Start) -> None:
    """Bytes of a body that is read past are not the beginning of a head, and are not answered with 408."""
    run = await start(limits={"keepalive_timeout": "1s", "head_timeout": "200ms"})
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/webhooks", "Content-Length: 10") + b"hello")
    refused = await caller.response()
    await caller.send(b"world")

    assert 403 == refused.status
    assert b"" == await caller.closed()


async def test_a_long_answer_is_no_late_head(start: Start) -> None:
    """While a request is being served its connection is not taken for one that sends nothing."""
    run = await start(limits={"head_timeout": "200ms", "keepalive_timeout": "200ms"})

    async def reply(arrival: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.2)
        writer.write(answer())

    run.upstream.reply = reply

    assert 200 == (await run.ask()).status


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer top-secret\x01\r\n\r\n",
        b"get /api/v2/threads HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_and_not_quoted(run: Running, data: bytes) -> None:
    """Malformed bytes get a 400 in the envelope; neither the answer nor the log repeats them."""
    caller = await run.connect()
    await caller.send(data)
    response = await caller.response()
    (line,) = await run.lines()

    assert (400, "invalid_request", "close") == (response.status, response.code, response.get("connection"))
    assert b"" == await caller.closed()
    assert b"secret" not in response.head + response.body
    assert "secret" not in run.log_file.read_text()
    assert (400, "invalid_request", response.get("x-request-id")) == (line["status"], line["code"], line["request_id"])
    assert b"" == run.upstream.received


async def test_a_unix_socket_serves_like_a_port(tmp_path: Path, upstream: Upstream) -> None:
    """A sidecar on a unix socket is for its owner and its group, and a leftover socket does not stop a new start."""
    path = tmp_path / "gateway.sock"
    for _ in range(2):
        async with running(tmp_path, upstream, listen=f"unix:{path}") as run:
            response = await run.ask()

            assert 200 == response.status
            assert 0o660 == stat.S_IMODE(path.stat().st_mode)
    assert 2 == len(upstream.arrivals)


async def test_a_socket_in_use_is_left_to_whoever_uses_it(tmp_path: Path, upstream: Upstream) -> None:
    """A second gateway at the same path does not start, and takes no caller of the first one's."""
    path = tmp_path / "gateway.sock"
    async with running(tmp_path / "first", upstream, listen=f"unix:{path}") as run:
        with pytest.raises(CannotStart, match="another process listens at it"):
            async with running(tmp_path / "second", upstream, listen=f"unix:{path}"):
                pass
        response = await run.ask()

    assert 200 == response.status


async def test_a_socket_that_a_crash_left_stops_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """A socket path without a listener is taken over; a file that is not a socket is left alone."""
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    async with running(tmp_path / "first", upstream, listen=f"unix:{path}") as run:
        response = await run.ask()
    file = tmp_path / "file"
    file.write_text("of somebody else")
    with pytest.raises(CannotStart, match="Address already in use"):
        async with running(tmp_path / "second", upstream, listen=f"unix:{file}"):
            pass

    assert 200 == response.status
    assert "of somebody else" == file.read_text()


async def test_a_failing_connection_costs_nobody_else(run: Running) -> None:
    """Callers that vanish at any point leave no request behind and delay no other."""
    for cut in (1, 20, 60, len(head()) - 1, len(head())):
        caller = await run.connect()
        await caller.send(head()[:cut])
        caller.writer.transport.abort()
    response = await run.ask()

    assert 200 == response.status

    async def nothing_in_hand() -> bool:
        return not await run.metric("in_flight_requests")

    await eventually(nothing_in_hand)


async def test_bodies_after_one_another_on_a_connection_stay_apart(run: Running, upstream: Upstream) -> None:
    """Requests that differ in their length alone reach the upstream with the body of each, in whatever pieces it came;
    what follows a body is the next request, and a false length ends the connection.
    """
    caller = await run.connect()

    async def pieces(length: object, *contents: bytes) -> int:
        begun = head("POST", "/api/v2/threads", f"Content-Length: {length}")
        for at, content in enumerate(contents):
            await caller.send(content if at else begun + content)
            await ready_have_run()  # the gateway reads each piece before the next one comes
        return (await caller.response()).status

    statuses = [
        await pieces(5, b"hello"),
        await pieces(3, b"one"),
        await pieces(0, b""),
        await pieces(6, b"", b"sec", b"ond"),
        await pieces(200_000, b"a" * 100_000, b"a" * 100_000),
        await pieces(4, b"four" + head("POST", "/api/v2/threads", "Content-Length: 2") + b"in"),
        (await caller.response()).status,
        await pieces("+5", b"hello"),
    ]

    assert [200] * 7 + [400] == statuses
    assert [b"hello", b"one", b"", b"second", b"a" * 200_000, b"four", b"in"] == [a.body for a in upstream.arrivals]
    assert b"" == await caller.closed()
