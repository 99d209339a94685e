"""Draining: the process ends without losing an accepted request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.deadline import DEADLINE, eventually
from tests.support.in_process import Running
from tests.support.raw_caller import Caller, Cut, head
from tests.support.recording import Arrival, answer

Start = Callable[..., Any]


async def not_ready(run: Running) -> bool:
    return 503 == (await run.admin("/readyz")).status


@asynccontextmanager
async def draining(run: Running) -> AsyncIterator[asyncio.Event]:
    """Start a drain; yield the event that ends it early."""
    hurry = asyncio.Event()
    task = asyncio.create_task(run.gateway.drain(hurry))
    try:
        await eventually(lambda: not_ready(run))
        yield hurry
    finally:
        async with asyncio.timeout(DEADLINE):
            await task


def slow(run: Running, begin: bytes = b"") -> tuple[asyncio.Event, asyncio.Event]:
    """Make the upstream hold back its answer, or all but its beginning; two events: arrived, and go on."""
    come, go_on = asyncio.Event(), asyncio.Event()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"slow" not in arrival.target:
            writer.write(answer())
            return
        writer.write(begin)
        come.set()
        await go_on.wait()
        writer.write(b"5\r\nhello\r\n0\r\n\r\n" if begin else answer(200, b"slow"))

    run.upstream.reply = reply
    return come, go_on


async def wait(event: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE):
        await event.wait()


async def ask(caller: Caller, target: str = "/api/v2/threads") -> Any:
    await caller.send(head("GET", target))
    return await caller.response()


async def test_a_drain_is_told_at_once_and_everything_goes_on(start: Start) -> None:
    """Readiness falls first; for `drain.delay` connections old and new are served, each for the last time."""
    run = await start(drain={"delay": "5s", "timeout": "5s"})
    old = await run.connect()
    before = await ask(old)
    async with draining(run) as hurry:
        ready, alive = await run.admin("/readyz"), await run.admin("/livez")
        during = await ask(old)
        fresh = await run.ask()
        refused = await run.ask("GET", "/api/v2/nothing")
        ended = await old.closed()
        hurry.set()

    assert (503, 200) == (ready.status, alive.status)
    assert (200, None) == (before.status, before.get("connection"))
    assert [(200, "close"), (200, "close"), (404, "close")] == [
        (response.status, response.get("connection")) for response in (during, fresh, refused)
    ]
    assert b"" == ended


async def test_a_streamed_answer_says_that_it_is_the_last(start: Start) -> None:
    """A streamed answer that begins during a drain also has `Connection: close`."""
    run = await start(drain={"delay": "5s", "timeout": "5s"})
    _, go_on = slow(run, b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    caller = await run.connect()
    async with draining(run) as hurry:
        await caller.send(head("GET", "/api/v2/threads?slow"))
        begun = await caller.reader.readuntil(b"\r\n\r\n")
        go_on.set()
        rest = await caller.closed()
        hurry.set()

    assert b"\r\nConnection: close\r\n" in begun
    assert b"5\r\nhello\r\n0\r\n\r\n" == rest


async def test_an_answer_that_began_before_the_drain_keeps_its_word(start: Start) -> None:
    """Without `Connection: close` in its answer a caller may send one more request; the next answer has it."""
    run = await start(drain={"delay": "5s", "timeout": "5s"})
    come, go_on = slow(run, b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    caller = await run.connect()
    await caller.send(head("GET", "/api/v2/threads?slow"))
    await wait(come)
    begun = await caller.reader.readuntil(b"\r\n\r\n")
    async with draining(run) as hurry:
        go_on.set()
        await caller.reader.readuntil(b"0\r\n\r\n")
        again = await ask(caller)
        hurry.set()

    assert b"Connection: close" not in begun
    assert (200, "close") == (again.status, again.get("connection"))


async def test_nothing_in_hand_is_lost(start: Start) -> None:
    """Requests and uploads in progress are finished when the listener closes; idle connections are closed."""
    run = await start(drain={"delay": "0s", "timeout": "8s"})
    come, go_on = slow(run)
    idle, asking, uploading, chunking = [await run.connect() for _ in range(4)]
    await ask(idle)
    await asking.send(head("GET", "/api/v2/threads?slow"))
    await uploading.send(head("POST", "/api/v2/threads", "Content-Length: 100000") + b"x" * 50_000)
    await chunking.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    await wait(come)
    await run.upstream.until(lambda: 2 == run.upstream.received.count(b"POST "))
    async with draining(run):
        ended = await idle.closed()
        with pytest.raises(ConnectionError):
            await run.connect()
        await uploading.send(b"x" * 50_000)
        await chunking.send(b"0\r\n\r\n")
        go_on.set()
        answers = [await caller.response() for caller in (asking, uploading, chunking)]

    assert b"" == ended
    assert [(200, b"slow"), (200, b'{"ok":true}'), (200, b'{"ok":true}')] == [(a.status, a.body) for a in answers]
    assert {50_000 * 2, 5, 0} == {len(arrival.body) for arrival in run.upstream.arrivals}


async def test_a_head_that_is_arriving_is_waited_for(start: Start) -> None:
    """A request counts as accepted once its first byte has arrived."""
    run = await start(drain={"delay": "0s", "timeout": "5s"})
    caller = await run.connect()
    await caller.send(head()[:30])
    await run.ask()
    async with draining(run):
        await caller.send(head()[30:])
        response = await caller.response()

    assert (200, "close") == (response.status, response.get("connection"))


@pytest.mark.parametrize("how", ["timeout", "hurry"])
async def test_what_takes_too_long_is_told(start: Start, how: str) -> None:
    """At `drain.timeout` or a second signal a request without an answer gets 503, and the upstream is freed."""
    run = await start(drain={"delay": "0s", "timeout": "200ms" if how == "timeout" else "1m"})
    run.upstream.reply = run.upstream.hang
    caller = await run.connect()
    await caller.send(head())
    await run.upstream.until(lambda: run.upstream.arrivals)
    async with draining(run) as hurry:
        if how == "hurry":
            hurry.set()
        response = await caller.response()
    await run.upstream.until(lambda: run.upstream.open == 0)
    (line,) = await run.lines()

    assert (503, "draining", "1", "close") == (
        response.status,
        response.code,
        response.get("retry-after"),
        response.get("connection"),
    )
    assert (503, "draining", "gateway") == (line["status"], line["code"], line["source"])


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_half_sent_answer_is_cut_so_that_it_shows(start: Start, version: bytes) -> None:
    """An answer that a drain cuts in the middle never looks like a whole one, nor does its line in the log."""
    run = await start(drain={"delay": "0s", "timeout": "200ms"})
    come, _ = slow(run, b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    caller = await run.connect()
    await caller.send(head("GET", "/api/v2/threads?slow").replace(b"HTTP/1.1", version))
    await wait(come)
    async with draining(run):
        with pytest.raises(Cut) as cut:
            await caller.response()
    (line,) = await run.lines()

    assert cut.value.received in (b"", b"hello")
    assert (200, True) == (line["status"], "`drain.timeout` ran out" in line["note"])


async def test_the_log_tells_that_a_caller_left(run: Running) -> None:
    """Of an answer that its caller did not wait for, the line in the log says so."""
    come, _ = slow(run, b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    caller = await run.connect()
    await caller.send(head("GET", "/api/v2/threads?slow"))
    await wait(come)
    await caller.close()
    (line,) = await run.lines()

    assert "the caller left before the end of its answer" == line["note"]
