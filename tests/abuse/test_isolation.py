"""No caller can starve others of loop time, connections, budget, the circuit breaker or memory."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import DEADLINE
from tests.support.honest import ATTACKER, HONEST, asks, opened, resident
from tests.support.in_process import policy
from tests.support.raw_caller import Caller, head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.served import serving

TWO: dict[str, Any] = {"policies": [policy("honest", HONEST), policy("attacker", ATTACKER)]}
CHUNKED = "Transfer-Encoding: chunked"
TINY = b"1\r\nx\r\n" * 10_000


@pytest.mark.parametrize("target", ["/api/v2/webhooks", "/api/v2/threads"], ids=["refused", "allowed"])
async def test_a_flood_of_tiny_chunks_slows_nobody_down(tmp_path: Path, upstream: Upstream, target: str) -> None:
    """Beside chunks of a byte to an endpoint that refuses or takes them, honest requests are answered by a deadline."""
    async with serving(tmp_path, upstream, **TWO) as served:
        attacker = await opened(served, head("POST", target, CHUNKED, token=ATTACKER))

        async def flood() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    attacker.writer.write(TINY)
                    await attacker.writer.drain()

        flooding = asyncio.create_task(flood())
        async with asyncio.timeout(DEADLINE):
            beside = await asks(served, 40)
        flooding.cancel()
        attacker.writer.transport.abort()

    assert {200} == beside


async def test_answers_of_tiny_chunks_slow_nobody_down(tmp_path: Path, upstream: Upstream) -> None:
    """While eight answers come in chunks of a byte without end, every honest request is answered by its deadline."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"tiny" not in arrival.target:
            writer.write(answer())
            return
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(TINY)
                await writer.drain()

    upstream.reply = reply
    async with serving(tmp_path, upstream, **TWO) as served:
        takers = [await opened(served, head("GET", "/api/v2/threads?tiny", token=ATTACKER)) for _ in range(8)]

        async def take(taker: Caller) -> None:
            while await taker.reader.read(1 << 16):
                pass

        taking = [asyncio.create_task(take(taker)) for taker in takers]
        async with asyncio.timeout(DEADLINE):
            honest = await asks(served, 20)
        for task in taking:
            task.cancel()
        for taker in takers:
            taker.writer.transport.abort()

    assert {200} == honest


async def test_slow_answers_of_one_caller_leave_room_for_others(tmp_path: Path, upstream: Upstream) -> None:
    """A caller whose requests hold the upstream's connections gets 503 for one more; another caller is served."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"hold" in arrival.target:
            await upstream.hang(arrival, writer)
        else:
            writer.write(answer())

    upstream.reply = reply
    async with serving(tmp_path, upstream, upstream={"url": upstream.url, "max_connections": 8}, **TWO) as served:
        held = [await opened(served, head("GET", f"/api/v2/threads?hold={n}", token=ATTACKER)) for n in range(12)]
        await upstream.until(lambda: len(upstream.arrivals) == 4)
        honest = await asks(served, 10)
        waiting = [asyncio.ensure_future(caller.response()) for caller in held]
        # The order of the budget decides which four hold a connection.
        refused = set()
        rest = set(waiting)
        while len(rest) > 4:
            finished, rest = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            refused |= {one.result().status for one in finished}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for caller in held:
            caller.writer.transport.abort()

    assert {200} == honest
    assert {503} == refused
    assert 4 == len([one for one in upstream.arrivals if b"hold" in one.target])


async def test_one_callers_bad_requests_open_no_circuit_for_others(tmp_path: Path, upstream: Upstream) -> None:
    """Requests that make the upstream hang up stop only the caller that sends them."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"poison" in arrival.target:
            writer.transport.abort()
        else:
            writer.write(answer())

    upstream.reply = reply
    async with serving(tmp_path, upstream, **TWO) as served:
        poisoned = []
        for number in range(25):
            caller = await opened(
                served, head("PATCH", f"/api/v2/threads/poison{number}", "Content-Length: 0", token=ATTACKER)
            )
            poisoned.append((await caller.response()).status)
            await caller.close()
        honest = await asks(served, 20)

    assert {200} == honest
    assert [502] * 10 == poisoned[:10]
    assert 503 in poisoned[10:]


async def test_dribbled_bodies_hold_no_budget(tmp_path: Path, upstream: Upstream) -> None:
    """As many unfinished uploads as a minute has writes leave the key's writes to others."""
    async with serving(tmp_path, upstream, **TWO) as served:
        held = [
            await opened(served, head("POST", "/api/v2/threads", "Content-Length: 100", token=ATTACKER) + b"x")
            for _ in range(70)
        ]
        honest = await asks(served, 5, method="POST", body=b"{}")
        for caller in held:
            caller.writer.transport.abort()

    assert {200} == honest


async def test_long_names_of_fields_are_not_remembered(tmp_path: Path, upstream: Upstream) -> None:
    """Thousands of fields with long names, each another one, leave no memory behind."""
    async with serving(tmp_path, upstream, **TWO) as served:
        await asks(served, 20)
        before = resident(served)
        for number in range(300):
            name = f"X-{number}-" + "n" * 60_000
            caller = await opened(served, head("GET", "/api/v2/threads", f"{name}: 1", token=ATTACKER))
            assert 200 == (await caller.response()).status
            await caller.close()
        grown = resident(served) - before

    assert 20 > grown


@pytest.mark.parametrize(("token", "status"), [("wrong", 401), (ATTACKER, 200)], ids=["refused", "served"])
async def test_large_heads_that_were_answered_are_not_kept(
    tmp_path: Path, upstream: Upstream, token: str, status: int
) -> None:
    """300 connections that stay open after a request of 56 kB, of a stranger or of a caller, cost less than 10 MB."""
    large = head("GET", "/api/v2/threads", *(f"X-{number}: {'x' * 7_000}" for number in range(8)), token=token)
    async with serving(tmp_path, upstream, **TWO) as served:
        await asks(served, 20)
        before = resident(served)
        idle = [await served.connect() for _ in range(300)]
        for caller in idle:
            await caller.send(large)
            assert status == (await caller.response()).status
        grown = resident(served) - before
        for caller in idle:
            await caller.close()

    assert 10 > grown


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
        caller = await opened(served, head("GET", "/api/v2/threads", "X-Team: a", *fields, token=ATTACKER))
        status = (await caller.response()).status
        await caller.close()
        await served.until_said(b'"event":"request_fields_refused"')
        logged = [line for line in served.lines() if line.get("event") == "request_fields_refused"]
        metrics = (await served.ask_admin("/metrics")).body.decode()

    (arrival,) = upstream.arrivals
    assert 200 == status
    assert ["Host", "X-Team", "Via", "Authorization"] == [name for name, _ in arrival.fields]
    assert {"forwarding", "range", "other"} == {line["kind"] for line in logged}
    assert 'request_fields_refused_total{kind="range"} 1' in metrics
