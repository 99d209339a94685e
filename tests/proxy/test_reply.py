"""`gateway.proxy.reply`: an answer is complete, in order and in the gateway's framing, or visibly cut."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.deadline import DEADLINE, eventually
from tests.support.in_process import Running
from tests.support.raw_caller import Cut, head
from tests.support.recording import Arrival, answer
from tests.support.sink import Flow, narrow
from tests.support.turns import ready_have_run

Start = Callable[..., Any]
MIB = 1 << 20


def breaks_off(framing: str, body: bytes, *, reset: bool = False) -> Callable[[Arrival, asyncio.StreamWriter], Any]:
    """An upstream that ends its connection in the middle of an answer."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 X\r\n{framing}\r\n\r\n".encode() + body)
        await writer.drain()
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    return reply


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 1000000", b"hello"),
        ("Content-Length: 1000000", b"x" * 500_000),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n"),
        ("Transfer-Encoding: chunked", b"ffff\r\nhello"),
    ],
)
async def test_an_answer_that_is_cut_upstream_is_cut_for_the_caller(
    run: Running, framing: str, body: bytes, reset: bool
) -> None:
    """What the upstream breaks off never looks complete, whatever the framing, and the log says why."""
    run.upstream.reply = breaks_off(framing, body, reset=reset)
    with pytest.raises(Cut):
        await run.ask()
    (line,) = await run.lines()

    assert (200, "upstream_broken", "upstream") == (line["status"], line["code"], line["source"])
    assert "closed the connection" in line["note"]
    assert "warning" == line["level"]
    assert 1 == await run.metric("upstream_failures_total", error="connection_terminated")


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_cut_is_visible_to_http_1_0_too(run: Running, framing: str) -> None:
    """If the end of the connection would end the body, a cut answer ends with a reset."""
    run.upstream.reply = breaks_off(framing, b"5\r\nhello\r\n")
    caller = await run.connect()
    await caller.send(head().replace(b"HTTP/1.1", b"HTTP/1.0"))

    with pytest.raises(Cut):
        await caller.response()


@pytest.mark.parametrize("length", [True, False])
async def test_http_1_0_gets_its_own_framing(run: Running, length: bool) -> None:
    """HTTP/1.0 gets no chunks: a known length, or else the end of the connection."""
    run.upstream.reply = answer() if length else b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    if not length:

        async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
            await writer.drain()
            await ready_have_run()  # the gateway reads the head by itself
            writer.write(b'b\r\n{"ok":true}\r\n0\r\n\r\n')

        run.upstream.reply = reply
    caller = await run.connect()
    await caller.send(head().replace(b"HTTP/1.1", b"HTTP/1.0"))
    response = await caller.response()
    rest = await caller.closed()

    assert b'{"ok":true}' == response.body
    assert (None, "close") == (response.get("transfer-encoding"), response.get("connection"))
    assert ("11" if length else None) == response.get("content-length")
    assert b"" == rest


async def test_http_1_0_may_keep_its_connection(run: Running) -> None:
    """An HTTP/1.0 caller that asks for keep-alive gets it, and its second request is served."""
    caller = await run.connect()
    asked = head("GET", "/api/v2/threads", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    await caller.send(asked)
    first = await caller.response()
    await caller.send(asked)
    second = await caller.response()

    assert ("keep-alive", 200) == (first.get("connection"), second.status)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_answer_waits_for_a_slow_caller(run: Running, chunked: bool) -> None:
    """The gateway buffers little of an answer: a slow caller slows the upstream and gets every byte."""
    size, piece, flow = 96 * MIB, bytes(range(256)) * 256, Flow()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        writer.write(b"HTTP/1.1 200 X\r\n" + framing + b"\r\n\r\n")
        while flow.size < size:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            flow.size += len(piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")

    run.upstream.reply = reply
    caller = await narrow(run)
    await caller.send(head())
    held = await flow.stalled()
    got, digest = 0, hashlib.sha256()
    async with asyncio.timeout(6 * DEADLINE):
        await caller.reader.readuntil(b"\r\n\r\n")
        while got < size:
            left = size
            if chunked:
                left = int(await caller.reader.readuntil(b"\r\n"), 16)
            while left and got < size:
                part = await caller.reader.read(min(left, 1 << 16))
                assert part
                left -= len(part)
                got += len(part)
                digest.update(part)
            if chunked:
                await caller.reader.readexactly(2)

    # The kernel may buffer up to 6 MB for the gateway's sockets on either side (tcp_rmem, tcp_wmem).
    assert 16 * MIB > held
    assert hashlib.sha256(piece * (size // len(piece))).digest() == digest.digest()


@pytest.mark.parametrize("size", [60_000_000, 100_000])
async def test_a_caller_that_takes_nothing_is_given_up(start: Start, size: int) -> None:
    """After `idle_timeout` in which a caller reads nothing its answer is cut, and the upstream is free again."""
    run = await start(upstream={"idle_timeout": "200ms"})
    run.upstream.reply = answer(200, b"x" * size, fields=())
    caller = await narrow(run)
    # Enough requests that even small answers fill the kernel's buffers for a caller that does not read.
    await caller.send(head() * (1 if size > MIB else 400))

    async def logged() -> bool:
        return any("took nothing" in line["note"] for line in await run.lines(0))

    await eventually(logged)
    await run.upstream.until(lambda: run.upstream.open <= 1)
    statuses = {line["status"] for line in await run.lines()}

    assert 0 == await run.metric("in_flight_requests")
    assert {200} == statuses  # The log has no gateway error beside it.
    assert 0 == await run.metric("requests_total", source="gateway")


async def test_an_answer_begins_before_it_is_whole(run: Running) -> None:
    """A caller gets the head and each part as they come, not when the last has come."""
    go_on = asyncio.Event()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"5\r\nhello\r\n0\r\n\r\n")

    run.upstream.reply = reply
    caller = await run.connect()
    await caller.send(head())
    async with asyncio.timeout(DEADLINE):
        begun = await caller.reader.readuntil(b"\r\n\r\n")
        go_on.set()
        rest = await caller.reader.readuntil(b"0\r\n\r\n")

    assert begun.startswith(b"HTTP/1.1 200 X\r\n")
    assert b"5\r\nhello\r\n0\r\n\r\n" == rest
