"""Every bound of `gateway.core.limits`: whoever goes over it is told as the table says, and it is counted."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from gateway.core.limits import ROWS, Limit
from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import ATTACKER, TWO
from tests.support.in_process import Running, policy
from tests.support.raw_caller import Caller, Response, head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.tls import House

UNFINISHED: Final = head("GET", "/api/v2/threads", "X: " + "x" * 40_000)[:-2]
LARGE: Final = b"x" * (24 << 20)
SPENT: Final = ("X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 0")


class Reach(NamedTuple):
    """How a bound is reached, under which settings. ``go`` gives the answer, None where the connection just ends."""

    go: Callable[[Running], Awaitable[Response | None]]
    settings: dict[str, Any]


async def ended(caller: Caller) -> None:
    assert b"" == await caller.closed()


async def one_more_connection(run: Running) -> Response:
    await run.connect()
    return await (await run.connect()).response()


async def handshake_that_waits(run: Running) -> None:
    first = await run.connect()
    await run.connect()
    await ended(first)


async def silent_handshake(run: Running) -> None:
    await ended(await run.connect())


def request(data: bytes) -> Callable[[Running], Awaitable[Response]]:
    return lambda run: run.raw(data)


async def slow_body(run: Running) -> Response:
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 1000"))

    async def dribble() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                caller.writer.write(b"x")
                await asyncio.sleep(0.05)

    dribbling = asyncio.create_task(dribble())
    try:
        return await caller.response()
    finally:
        dribbling.cancel()


async def slow_caller(run: Running, every: float) -> None:
    """A caller with a small window that reads 128 KiB every so many seconds, or 0 for once, until its answer is cut."""
    run.upstream.reply = answer(body=LARGE)
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    opened.setblocking(False)
    loop, address = asyncio.get_running_loop(), run.gateway.traffic
    with opened:
        await loop.sock_connect(opened, (address.host, address.port))
        await loop.sock_sendall(opened, head())
        got, last = 0, time.monotonic()
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionError):
                while piece := await loop.sock_recv(opened, 131_072):
                    if not (got or every):
                        await eventually(lambda: run.metric("limits_reached_total", limit="answer_silence"))
                    got += len(piece)
                    if (rest := last + every - time.monotonic()) > 0:
                        await asyncio.sleep(rest)
                    last = time.monotonic()
    assert got < len(LARGE)


async def dribbled_answer(run: Running) -> None:
    async def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)

    run.upstream.reply = reply
    caller = await run.connect()
    await caller.send(head())
    rest = await caller.closed()
    assert not rest.endswith(b"0\r\n\r\n")


async def spent(run: Running, seconds: int) -> None:
    run.upstream.reply = answer(fields=(*SPENT, f"X-RateLimit-Reset: {int(time.time()) + seconds}"))
    assert 200 == (await run.ask()).status


async def no_budget(run: Running) -> Response:
    await spent(run, 50)
    return await run.ask()


async def full_queue(run: Running) -> Response:
    await spent(run, 50)
    waiting = [asyncio.create_task(run.ask()) for _ in range(3)]
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return next(iter(done)).result()


async def twice(run: Running) -> Response:
    assert 200 == (await run.ask()).status
    return await run.ask()


async def one_more_exchange(run: Running) -> Response:
    run.upstream.reply = run.upstream.hang
    holding = await run.connect()
    await holding.send(head(token=ATTACKER))
    await run.upstream.until(lambda: bool(run.upstream.arrivals))
    refused = await run.ask(token=ATTACKER)
    holding.writer.transport.abort()
    return refused


def over_tls(folder: Path) -> dict[str, Any]:
    return {"tls": {name: value for name, value in House(folder).tls.items() if name != "client_ca"}}


def limits(**settings: Any) -> dict[str, Any]:
    return {"limits": settings}


REACHED: Final = {
    Limit.CONNECTIONS: Reach(one_more_connection, limits(connections=1)),
    Limit.CONNECTIONS_PER_ADDRESS: Reach(one_more_connection, limits(connections_per_address=1)),
    Limit.HANDSHAKES: Reach(handshake_that_waits, limits(connections=4)),
    Limit.HANDSHAKE_TIMEOUT: Reach(silent_handshake, limits(handshake_timeout="200ms")),
    Limit.HEAD_TIMEOUT: Reach(request(b"GET /"), limits(head_timeout="200ms")),
    Limit.HEAD_SIZE: Reach(request(head("GET", "/api/v2/threads", *["X: " + "x" * 1_000] * 70)), {}),
    Limit.HEADS: Reach(request(UNFINISHED), limits(heads=6_000)),
    Limit.HEADS_PER_ADDRESS: Reach(request(UNFINISHED), limits(heads=60_000)),
    Limit.TARGET_SIZE: Reach(request(head("GET", "/api/v2/" + "x" * 9_000)), {}),
    Limit.BODY_SIZE: Reach(
        request(head("POST", "/api/v2/threads", "Content-Length: 2000") + b"x" * 2_000),
        limits(body={"write": 1_000}),
    ),
    Limit.BODY_SILENCE: Reach(
        request(head("POST", "/api/v2/threads", "Content-Length: 9") + b"x"), {"upstream": {"idle_timeout": "200ms"}}
    ),
    Limit.BODY_RATE: Reach(slow_body, {"upstream": {"idle_timeout": "400ms"}}),
    Limit.ANSWER_SILENCE: Reach(lambda run: slow_caller(run, 0.0), {"upstream": {"idle_timeout": "300ms"}}),
    Limit.ANSWER_RATE: Reach(
        lambda run: slow_caller(run, 0.02), {"upstream": {"idle_timeout": "600ms"}, **limits(answer_rate="500MiB")}
    ),
    Limit.ANSWER_TIMEOUT: Reach(dribbled_answer, {"upstream": {"answer_timeout": "400ms"}}),
    Limit.QUEUE: Reach(full_queue, {"pacing": {"max_queue": 2, "max_wait": "60s"}}),
    Limit.QUEUE_WAIT: Reach(no_budget, {"pacing": {"max_wait": "100ms"}}),
    Limit.REQUESTS_PER_MINUTE: Reach(twice, {"policies": [policy(limits={"reads_per_minute": 1})]}),
    Limit.UPSTREAM_CONNECTIONS: Reach(
        one_more_exchange, {"upstream": {"max_connections": 1}, "policies": [policy("attacker", ATTACKER)]}
    ),
    Limit.UPSTREAM_SHARE: Reach(one_more_exchange, {"upstream": {"max_connections": 3}, **TWO}),
}
OVER_TLS: Final = {Limit.HANDSHAKES, Limit.HANDSHAKE_TIMEOUT}
ROW_OF: Final = {row.limit: row for row in ROWS if row.limit is not None}


@pytest.mark.parametrize("limit", Limit)
async def test_each_limit_is_counted_when_it_is_reached(
    limit: Limit, start: Callable[..., Any], upstream: Upstream, tmp_path: Path
) -> None:
    """Going over a bound gives the status of its row, and counts under its name and no other."""
    reach, row = REACHED[limit], ROW_OF[limit]
    run = await start(**reach.settings, **(over_tls(tmp_path) if limit in OVER_TLS else {}))
    refused = await reach.go(run)
    await eventually(lambda: run.metric("limits_reached_total", limit=limit))

    promised = re.findall(r"\b[45]\d\d\b", row.over)
    assert promised[:1] == ([] if refused is None else [str(refused.status)]) or row.over == "the same"
    assert await run.metric("limits_reached_total") == await run.metric("limits_reached_total", limit=limit)


def test_each_limit_has_one_row() -> None:
    """The table names each bound that is counted, once."""
    assert sorted(Limit) == sorted(row.limit for row in ROWS if row.limit is not None)
