"""`gateway.proxy.request_body`: uploads are bounded, in size and in silence, and never piled up."""

import asyncio
import contextlib
import gc
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, running
from tests.support.raw_caller import Cut, head
from tests.support.recording import answer
from tests.support.sink import Flow, Sink, narrow

Start = Callable[..., Any]
MIB = 1 << 20


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """An upstream that reads a body only when its tap is open."""
    started = Sink()
    await started.start()
    yield started
    started.open_tap.set()
    await started.stop()


async def test_a_large_upload_arrives_whole(run: Running) -> None:
    """Productlane's 10 MB files, with their form around them, fit through the default limits byte for byte."""
    body = bytes(range(256)) * (11 * MIB // 256)
    response = await run.ask("POST", "/api/v2/files", "Content-Type: multipart/form-data; boundary=x", body=body)

    (arrival,) = run.upstream.arrivals
    assert 200 == response.status
    assert hashlib.sha256(body).digest() == hashlib.sha256(arrival.body).digest()
    assert [len(body)] == [line["bytes_in"] for line in await run.lines()]


async def test_an_upload_waits_for_an_upstream_that_does_not_read(tmp_path: Path, sink: Sink) -> None:
    """The gateway buffers little of a body: a slow upstream slows the caller and gets every byte."""
    size, piece, flow = 96 * MIB, bytes(range(256)) * 256, Flow()
    async with running(tmp_path, sink, limits={"body": {"write": "100MiB"}}) as run:
        caller = await narrow(run)

        async def upload() -> None:
            caller.writer.write(head("POST", "/api/v2/threads", f"Content-Length: {size}"))
            while flow.size < size:
                caller.writer.write(piece)
                flow.size += len(piece)
                await caller.writer.drain()

        uploading = asyncio.create_task(upload())
        held = await flow.stalled()
        sink.open_tap.set()
        async with asyncio.timeout(6 * DEADLINE):
            await uploading
            response = await caller.response()

        # The kernel may buffer up to 6 MB for the gateway's sockets on either side (tcp_rmem, tcp_wmem).
        assert 16 * MIB > held
        assert 201 == response.status
        assert (size, hashlib.sha256(piece * (size // len(piece))).digest()) == (sink.taken, sink.digest.digest())


@pytest.mark.parametrize(("target", "limit"), [("/api/v2/threads", 200_000), ("/api/v2/files", 100_000)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_each_lane_has_its_own_limit(start: Start, target: str, limit: int, chunked: bool) -> None:
    """A body of exactly the limit passes; one byte more is 413, with a declared length or without."""
    run = await start(limits={"body": {"write": 200_000, "upload": 100_000}})

    async def send(size: int) -> int:
        if not chunked:
            return int((await run.ask("POST", target, body=b"x" * size)).status)
        caller = await run.connect()
        half = b"%x\r\n%b\r\n" % (size // 2, b"x" * (size // 2))
        rest = b"%x\r\n%b\r\n0\r\n\r\n" % (size - size // 2, b"x" * (size - size // 2))
        await caller.send(head("POST", target, "Transfer-Encoding: chunked") + half + rest)
        return int((await caller.response()).status)

    assert 200 == await send(limit)
    assert 413 == await send(limit + 1)
    assert [limit] == [len(arrival.body) for arrival in run.upstream.arrivals if arrival.complete]


async def test_an_upload_that_grows_too_large_never_looks_complete(start: Start) -> None:
    """When a chunked body passes the limit on its way, the upstream is cut off in the middle, not given an end."""
    run = await start(limits={"body": {"write": 100_000}})
    caller = await run.connect()
    chunk = b"%x\r\n%b\r\n" % (60_000, b"x" * 60_000)
    await caller.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked") + chunk)
    await run.upstream.until(lambda: b"POST" in run.upstream.received)
    await caller.send(chunk)
    response = await caller.response()
    await run.upstream.until(lambda: run.upstream.open == 0)

    assert (413, "payload_too_large") == (response.status, response.code)
    assert b"\r\n0\r\n\r\n" not in run.upstream.received
    assert [] == [arrival for arrival in run.upstream.arrivals if arrival.complete]


async def test_a_refused_upload_leaves_no_loose_end(start: Start) -> None:
    """An answer that no task awaits any more is not reported as an unretrieved exception."""
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    run = await start(limits={"body": {"write": 100_000}})
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    await run.upstream.until(lambda: b"hello" in run.upstream.received)
    await caller.send(b"%x\r\n%b\r\n" % (200_000, b"x" * 200_000))
    response = await caller.response()
    await run.upstream.until(lambda: run.upstream.open == 0)
    await caller.close()
    gc.collect()

    assert 413 == response.status
    assert [] == [message for message in reported if "never retrieved" in message]


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_caller_that_falls_silent_in_its_body_is_told(start: Start, framing: str) -> None:
    """After `idle_timeout` without a byte of the body the caller gets 408, and the upstream connection is closed."""
    run = await start(upstream={"idle_timeout": "200ms"})
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", framing) + b"5\r\nhello\r\n")
    response = await caller.response()
    await run.upstream.until(lambda: run.upstream.open == 0)

    assert (408, "request_timeout", "close") == (response.status, response.code, response.get("connection"))
    assert [] == [arrival for arrival in run.upstream.arrivals if arrival.complete]


async def test_an_upstream_that_stops_taking_a_body_is_a_504(tmp_path: Path, sink: Sink) -> None:
    """A stalled upstream is given up after `idle_timeout` even while the caller would go on sending."""
    settings: dict[str, Any] = {"upstream": {"idle_timeout": "300ms"}, "limits": {"body": {"write": "100MiB"}}}
    async with running(tmp_path, sink, **settings) as run:
        caller = await narrow(run)

        async def upload() -> None:
            caller.writer.write(head("POST", "/api/v2/threads", f"Content-Length: {96 * MIB}"))
            while True:
                caller.writer.write(b"x" * 65_536)
                await caller.writer.drain()

        uploading = asyncio.create_task(upload())
        response = await caller.response()
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)

        assert (504, "upstream_timeout") == (response.status, response.code)
        assert "error=connection_write_timeout" in str(response.get("proxy-status"))


async def test_a_small_body_is_awaited_without_the_upstream(run: Running) -> None:
    """A slow caller with a small body uses no upstream connection while it sends."""
    await run.ask()
    before = len(run.upstream.received)
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 10") + b"hello")
    await run.ask("GET", "/api/v2/companies")
    between = run.upstream.received[before:]
    await caller.send(b"world")
    response = await caller.response()

    assert b"POST" not in between
    assert 200 == response.status
    assert b"helloworld" == run.upstream.arrivals[-1].body


async def test_a_refused_small_body_does_not_cost_the_connection(run: Running) -> None:
    """After a refusal the rest of a small body is read past, so the next request on the connection is served."""
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/webhooks", "Content-Length: 10") + b"hello")
    refused = await caller.response()
    await caller.send(b"world" + head())
    served = await caller.response()

    assert (403, 200) == (refused.status, served.status)


async def test_a_refused_large_body_is_told_that_it_is_over(run: Running) -> None:
    """Where much of a body is still to come, the refusal says that the connection ends with it."""
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/webhooks", "Content-Length: 1000000") + b"x" * 1000)
    response = await caller.response()

    assert (403, "close") == (response.status, response.get("connection"))


async def test_broken_chunks_are_a_400_and_never_an_end(run: Running) -> None:
    """A body with broken framing is refused, and its forwarded part never looks complete."""
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    await run.upstream.until(lambda: b"hello" in run.upstream.received)
    run.upstream.reply = answer()
    await caller.send(b"zz\r\nbroken\r\n0\r\n\r\n")
    try:
        status = (await caller.response()).status
    except Cut:
        status = 0
    await run.upstream.until(lambda: run.upstream.open == 0)

    assert 400 == status
    assert [] == [arrival for arrival in run.upstream.arrivals if arrival.complete]


async def test_a_body_that_dribbles_is_given_up(start: Start) -> None:
    """A body slower than `limits.body_rate` gets 408, and nothing of it is forwarded."""
    run = await start(upstream={"idle_timeout": "500ms"}, limits={"body_rate": 1000})
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 1000"))

    async def dribble() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await caller.send(b"x")
                await asyncio.sleep(0.05)

    sending = asyncio.ensure_future(dribble())
    response = await caller.response()
    sending.cancel()
    await asyncio.wait({sending})

    assert (408, "request_timeout") == (response.status, response.code)
    assert "`limits.body_rate`" in (response.get("proxy-status") or "")
    assert [] == run.upstream.arrivals


async def test_a_slow_body_that_keeps_the_rate_is_taken(start: Start) -> None:
    """The same body is forwarded if the rate allows it."""
    run = await start(upstream={"idle_timeout": "500ms"}, limits={"body_rate": 1})
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 20"))
    for _ in range(20):
        await caller.send(b"x")
        await asyncio.sleep(0.05)

    assert 200 == (await caller.response()).status
    assert [b"x" * 20] == [arrival.body for arrival in run.upstream.arrivals]
