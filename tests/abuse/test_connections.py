"""Connections on which things come late, early or twice, against a real `serve`: each request has its own verdict and
its own answer."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import ATTACKER, HONEST, TWO, asks, counted, opened
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.served import Served, serving

POST = ("POST", "/api/v2/threads")


async def narrowed(folder: Path, served: Served) -> None:
    """The attacker may no longer see threads."""
    (folder / "policies" / "1.yaml").write_text(yaml.safe_dump(policy("attacker", ATTACKER, scopes=["contacts:read"])))
    await served.until_said(b'"event":"policy_change"')


async def test_a_request_that_waits_behind_another_is_judged_in_its_turn(
    tmp_path: Path, served: Served, upstream: Upstream
) -> None:
    """Of two requests in one write, the second is judged by the policy that there is when the first was answered."""
    go_on = asyncio.Event()

    async def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(DEADLINE):
            await go_on.wait()
        writer.write(answer())

    upstream.reply = reply
    caller = await opened(served, head(token=ATTACKER) * 2)
    await upstream.until(lambda: bool(upstream.arrivals))
    await narrowed(tmp_path, served)
    go_on.set()

    assert (200, 403) == ((await caller.response()).status, (await caller.response()).status)
    assert 1 == len(upstream.arrivals)


@pytest.mark.parametrize(("length", "closes"), [(66_000, False), (200_000, True)])
async def test_an_answer_before_the_end_of_a_body_leaves_the_next_request_alone(
    served: Served, upstream: Upstream, length: int, closes: bool
) -> None:
    """After an early answer the rest of a body is no request, here nor upstream, and the next request has its own
    answer, on another connection to the upstream; where too much is still to come, the connection ends.
    """
    inner = head("GET", "/api/v2/companies", token=ATTACKER)
    body = (inner * (length // len(inner) + 1))[:length]

    def early(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if arrival.method == "POST":
            writer.write(answer(413, b"early"))

    upstream.before_body = early
    caller = await opened(served, head(*POST, f"Content-Length: {length}", token=ATTACKER) + body[:1_000])
    first = await caller.response()
    connections = upstream.connections
    caller.writer.write(body[1_000:] + head(token=ATTACKER))

    assert (413, b"early", "close" if closes else None) == (first.status, first.body, first.get("connection"))
    if not closes:
        assert b'{"ok":true}' == (await caller.response()).body
        assert connections < upstream.connections
    assert {200} == await asks(served, 5)
    assert {b"/api/v2/threads"} == {arrival.target for arrival in upstream.arrivals}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_second_answer_is_never_the_next_requests(served: Served, upstream: Upstream, method: str) -> None:
    """A second answer that has come by the time of the next request, and that the gateway has not read, is nobody's."""
    writers = []

    def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(answer())

    upstream.reply = reply
    caller = await served.connect()
    request = head(method, "/api/v2/threads", *(["Content-Length: 0"] if method == "POST" else []), token=HONEST)
    bodies = set()
    for _ in range(10):
        await caller.send(request)
        bodies.add((await caller.response()).body)
        os.kill(served.process.pid, signal.SIGSTOP)
        writers[-1].write(answer(body=b"poison"))
        await caller.send(request)
        os.kill(served.process.pid, signal.SIGCONT)
        bodies.add((await caller.response()).body)

    assert {b'{"ok":true}'} == bodies


async def test_what_waits_by_its_own_wish_is_judged_at_its_end(tmp_path: Path, upstream: Upstream) -> None:
    """Of requests that wait for budget with `Prefer: wait`, one whose caller has left is never sent, one that is no
    longer allowed is refused, and an honest one is served.
    """
    fields = ("X-RateLimit-Limit: 60", "X-RateLimit-Remaining: 0")
    async with serving(tmp_path, upstream, pacing={"max_wait": "9s"}, **TWO) as served:
        upstream.reply = answer(fields=(*fields, f"X-RateLimit-Reset: {int(time.time()) + 4}"))
        assert {200} == await asks(served, 1)
        upstream.reply = answer()
        leaves = await opened(served, head("GET", "/api/v2/threads?leaves", "Prefer: wait=8", token=ATTACKER))
        stays = await opened(served, head("GET", "/api/v2/threads?stays", "Prefer: wait=8", token=ATTACKER))
        honest = await opened(served, head("GET", "/api/v2/threads?honest", "Prefer: wait=8", token=HONEST))
        await eventually(lambda: counted(served, 'pacing_queue_length{key="main",lane="read"} 3'))
        leaves.writer.transport.abort()
        await eventually(lambda: counted(served, 'pacing_queue_length{key="main",lane="read"} 2'))
        await narrowed(tmp_path, served)

        assert (403, 200) == ((await stays.response()).status, (await honest.response()).status)
    assert [b"/api/v2/threads", b"/api/v2/threads?honest"] == [arrival.target for arrival in upstream.arrivals]
