"""No caller can starve others of loop time, connections, budget, the circuit breaker or memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import ATTACKER, TWO, asks, attacked, counted, least_beside, opened, resident, worked
from tests.support.raw_caller import Caller, head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.served import Served, serving

CHUNKED: Final = "Transfer-Encoding: chunked"
TINY: Final = b"1\r\nx\r\n" * 10_000
# Where a turn of the loop read all that has come, an honest request would let ten times as much of a flood pass.
FEW: Final = 20_000


@contextlib.asynccontextmanager
async def meanwhile(*attacks: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Attacks that go on for as long as the block does: none of them has ended before."""
    tasks = [asyncio.create_task(attack) for attack in attacks]
    try:
        async with asyncio.timeout(3 * DEADLINE):
            yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def flood(caller: Caller | asyncio.StreamWriter) -> None:
    """Chunks of a byte without end."""
    writer = caller if isinstance(caller, asyncio.StreamWriter) else caller.writer
    while True:
        writer.write(TINY)
        await writer.drain()


async def test_a_flood_of_tiny_chunks_slows_nobody_down(served: Served, upstream: Upstream) -> None:
    """While a body comes in chunks of a byte without end, honest requests are answered between a few of its chunks."""
    attacker = await opened(served, head("POST", "/api/v2/threads", CHUNKED, token=ATTACKER))
    async with meanwhile(flood(attacker)):
        await upstream.until(lambda: len(upstream.received) > FEW)
        least = await least_beside(served, lambda: len(upstream.received), 5)
        passed = len(upstream.received)
        await upstream.until(lambda: len(upstream.received) > passed + FEW)

    assert least < FEW


async def test_a_refused_flood_of_tiny_chunks_is_not_read(served: Served) -> None:
    """Chunks of a byte to an endpoint that refuses them cost next to nothing: 8 MB of them less than 0.3 s of work."""
    assert {200} == await asks(served, 5)
    before, sent = worked(served), 0
    async with asyncio.timeout(3 * DEADLINE):
        while sent < 8_000_000:
            attacker = await opened(served, head("POST", "/api/v2/webhooks", CHUNKED, token=ATTACKER))
            with contextlib.suppress(ConnectionError):
                while sent < 8_000_000:
                    attacker.writer.write(TINY)
                    await attacker.writer.drain()
                    sent += len(TINY)
        assert {200} == await asks(served, 5)

    assert worked(served) - before < 0.3


async def test_answers_of_tiny_chunks_slow_nobody_down(served: Served, upstream: Upstream) -> None:
    """While eight answers come in chunks of a byte without end, honest requests are answered between a few of them."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"tiny" not in arrival.target:
            writer.write(answer())
            return
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        await flood(writer)

    passed = 0

    async def take(taker: Caller) -> None:
        nonlocal passed
        while piece := await taker.reader.read(1 << 16):
            passed += len(piece)

    upstream.reply = reply
    takers = [await opened(served, head("GET", "/api/v2/threads?tiny", token=ATTACKER)) for _ in range(8)]
    async with meanwhile(*[take(taker) for taker in takers]):
        await upstream.until(lambda: passed > FEW)
        least = await least_beside(served, lambda: passed, 5)
        before = passed
        await upstream.until(lambda: passed > before + FEW)

    assert least < FEW


async def test_slow_answers_of_one_caller_leave_room_for_others(tmp_path: Path, upstream: Upstream) -> None:
    """A caller whose requests hold its share of the connections gets 503 for one more; another caller is served."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"hold" in arrival.target:
            await upstream.hang(arrival, writer)
        else:
            writer.write(answer())

    upstream.reply = reply
    async with serving(tmp_path, upstream, upstream={"url": upstream.url, "max_connections": 8}, **TWO) as served:
        await asks(served, 1)
        held = [await opened(served, head("GET", f"/api/v2/threads?hold={n}", token=ATTACKER)) for n in range(12)]
        waiting = {asyncio.ensure_future(caller.response()) for caller in held}
        await upstream.until(lambda: len(upstream.arrivals) >= 5)
        for _ in range(10):
            assert {200} == await asks(served, 1)
        # The order of the budget decides which four hold a connection.
        while len(waiting) > 4:
            refused, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert {503} == {one.result().status for one in refused}
        for task in waiting:
            task.cancel()

    assert 4 == len([one for one in upstream.arrivals if b"hold" in one.target])


async def test_one_callers_bad_requests_open_no_circuit_for_others(served: Served, upstream: Upstream) -> None:
    """Requests that make the upstream hang up stop only the caller that sends them."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"poison" in arrival.target:
            writer.transport.abort()
        else:
            writer.write(answer())

    upstream.reply = reply
    bad = [head("PATCH", f"/api/v2/threads/poison{n}", "Content-Length: 0", token=ATTACKER) for n in range(25)]
    poisoned = [(await attacked(served, data)).status for data in bad]

    assert {200} == await asks(served, 20)
    assert [502] * 10 == poisoned[:10]
    assert 503 in poisoned[10:]


async def test_uploads_that_are_hung_up_on_open_no_circuit(served: Served, upstream: Upstream) -> None:
    """A request whose body was not wholly sent tells nothing of the upstream: not even its own caller is stopped."""
    upstream.before_body = lambda arrival, writer: writer.transport.abort() if arrival.method == "PATCH" else None
    upload = head("PATCH", "/api/v2/threads/1", "Content-Length: 100000", token=ATTACKER) + b"x" * 70_000
    refused = [(await attacked(served, upload)).status for _ in range(12)]

    assert [502] * 12 == refused
    assert 200 == (await attacked(served, head(token=ATTACKER))).status


async def test_dribbled_bodies_hold_no_budget(tmp_path: Path, upstream: Upstream) -> None:
    """More unfinished uploads than a minute has writes leave the key's writes to others."""
    post = head("POST", "/api/v2/threads", "Content-Length: 100", token=ATTACKER)
    settings = {"upstream": {"max_connections": 200}, "pacing": {"max_wait": "1s"}, **TWO}
    async with serving(tmp_path, upstream, **settings) as served:
        assert 200 == (await attacked(served, post + b"x" * 100)).status
        for _ in range(70):
            await opened(served, post + b"x")
        await eventually(lambda: counted(served, "in_flight_requests 70\n"))

        assert {200} == await asks(served, 5, method="POST", body=b"{}")


async def test_long_names_of_fields_are_not_remembered(served: Served) -> None:
    """Hundreds of fields with long names, each another one, leave no memory behind."""
    await asks(served, 20)
    before = resident(served)
    for number in range(500):
        name = f"X-{number}-" + "n" * 60_000
        assert 200 == (await attacked(served, head("GET", "/api/v2/threads", f"{name}: 1", token=ATTACKER))).status

    assert 10 > resident(served) - before


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), (ATTACKER, 200)], ids=["refused", "served"])
async def test_large_heads_that_were_answered_are_not_kept(served: Served, token: str, status: int) -> None:
    """300 connections that stay open after a request of 56 kB, of a stranger or of a caller, cost less than 10 MB."""
    large = head("GET", "/api/v2/threads", *(f"X-{number}: {'x' * 7_000}" for number in range(8)), token=token)
    await asks(served, 20)
    before = resident(served)
    for _ in range(300):
        assert status == (await (await opened(served, large)).response()).status

    assert 10 > resident(served) - before


ROUTING = (
    "X-Matched-Path", "X-Invoke-Path", "X-Middleware-Rewrite", "X-Nextjs-Data", "X-Now-Route-Matches", "RSC",
    "X-Vercel-Forwarded-For", "Next-Action", "X-Override-URL", "X-URL", "X-URI", "X-Path", "X-Method", "Client-IP",
    "X-User", "X-Workspace-Id", "X-Tenant-Id", "X-Impersonate-User", "X-On-Behalf-Of", "X-MS-Client-Principal",
    "X-Goog-Iap-Jwt-Assertion", "X-Amzn-Oidc-Data", "CDN-Loop", "Range", "If-Range",
)  # fmt: skip


async def test_fields_that_route_or_identify_stay_behind(tmp_path: Path, upstream: Upstream) -> None:
    """No field crosses that a framework behind the upstream's name could believe; one that a setting names does."""
    settings = {"upstream": {"url": upstream.url, "request_fields": ["X-Team"]}, **TWO}
    async with serving(tmp_path, upstream, **settings) as served:
        fields = [f"{name}: x" for name in ROUTING]
        crossed = await attacked(served, head("GET", "/api/v2/threads", "X-Team: a", *fields, token=ATTACKER))

        (arrival,) = upstream.arrivals
        assert 200 == crossed.status
        assert ["Host", "X-Team", "Via", "Authorization"] == [name for name, _ in arrival.fields]
        assert await counted(served, 'request_fields_refused_total{kind="range"} 1')
        await served.until_said(b'"event":"request_fields_refused"')
        logged = [line for line in served.lines() if line.get("event") == "request_fields_refused"]
        assert {"forwarding", "range", "other"} == {line["kind"] for line in logged}
