"""`gateway.proxy.upstream_connection`: one exchange at a time, and nothing of one that could be taken for the next."""

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.schema.upstream import Upstream as Settings
from gateway.net.resolver import Names
from gateway.proxy.lost import Lost
from gateway.proxy.upstream import Upstream as Leg
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_messages import Outgoing
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, running
from tests.support.raw_caller import Cut, head
from tests.support.recording import Arrival, Upstream

Start = Callable[..., Any]
POISON = b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\npoison"


async def test_an_answer_in_single_bytes_is_read_like_any_other(run: Running) -> None:
    """However an answer is cut up by the network, a caller gets the same one."""
    whole = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n, more\r\n0\r\nX: y\r\n\r\n"

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        for at in range(len(whole)):
            writer.write(whole[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)

    run.upstream.reply = reply
    response = await run.ask()

    assert b"hello, more" == response.body


async def test_an_answer_that_ends_with_its_connection_arrives_whole(run: Running) -> None:
    """An old upstream that marks the end by closing is relayed in a framing that shows the end."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 X\r\n\r\n" + b"x" * 300_000)
        writer.close()

    run.upstream.reply = reply
    response = await run.ask()

    assert "chunked" == response.get("transfer-encoding")
    assert b"x" * 300_000 == response.body


@pytest.mark.parametrize("moment", ["waiting", "streaming", "uploading"])
async def test_a_caller_that_leaves_frees_the_upstream(run: Running, moment: str) -> None:
    """Whenever a caller hangs up, its upstream connection ends soon after, and the log says that it left."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if moment == "streaming":
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\nbegin")
        begun.set()
        await run.upstream.hang(arrival, writer)
        ended.set()

    run.upstream.reply = reply
    if moment == "uploading":
        run.upstream.before_body = lambda arrival, writer: begun.set()
    caller = await run.connect()
    if moment == "uploading":
        await caller.send(head("POST", "/api/v2/threads", "Content-Length: 1000000") + b"x" * 1000)
    else:
        await caller.send(head())
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
        if moment == "streaming":
            await caller.reader.readuntil(b"begin")
        await caller.close()
        if moment != "uploading":
            await ended.wait()
    await run.upstream.until(lambda: run.upstream.open == 0)
    (line,) = await run.lines()

    assert (200 if moment == "streaming" else 0) == line["status"]
    assert (5 if moment == "streaming" else 0) == line["bytes_out"]
    assert 0 == await run.metric("in_flight_requests")


@pytest.mark.parametrize("framing", [["Content-Length: 1000"], ["Transfer-Encoding: chunked"], []])
async def test_an_upstream_that_stalls_in_its_answer_is_given_up(start: Start, framing: list[str]) -> None:
    """After `idle_timeout` without a byte the answer is cut, visibly, and the upstream's connection is closed."""
    run = await start(upstream={"idle_timeout": "200ms"})

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        part = b"5\r\nhello\r\n" if framing == ["Transfer-Encoding: chunked"] else b"hello"
        writer.write("\r\n".join(["HTTP/1.1 200 X", *framing, "", ""]).encode() + part)
        await run.upstream.hang(arrival, writer)

    run.upstream.reply = reply
    with pytest.raises(Cut) as cut:
        await run.ask()
    await run.upstream.until(lambda: run.upstream.open == 0)
    (line,) = await run.lines()

    assert b"hello" == cut.value.received
    assert (200, "upstream_timeout") == (line["status"], line["code"])


async def test_a_stall_after_an_early_answer_is_given_up_too(start: Start) -> None:
    """An answer that begins while the upload still runs has the same deadline as any other."""
    run = await start(upstream={"idle_timeout": "300ms", "response_timeout": "10s"})
    await run.ask()
    begun = asyncio.Event()

    async def before(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\nhello")
        begun.set()
        await run.upstream.hang(arrival, writer)

    run.upstream.before_body = before
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 1000000"))
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
    await caller.send(b"x" * 1000)

    with pytest.raises(Cut):
        await caller.response()


async def test_a_failure_that_nobody_waits_for_any_more_is_no_error_of_the_program(upstream: Upstream) -> None:
    """A caller that leaves at the moment at which the upstream breaks off puts no error into the log."""
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    upstream.reply = lambda _arrival, writer: writer.transport.abort()

    async def fails() -> bool:
        host, port = upstream.url.removeprefix("http://").partition("/")[0].split(":")
        _, connection = await loop.create_connection(lambda: UpstreamConnection(loop), host, int(port))
        left = connection.begin("GET", b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\n\r\n")
        await upstream.until(lambda: connection.transport is None)
        return left.done()

    failed = await asyncio.create_task(fails())
    gc.collect()

    assert failed
    assert [] == reported


async def test_a_connection_that_has_just_ended_is_seen_before_the_loop_reads_it(upstream: Upstream) -> None:
    """A write is not sent on a kept connection that the upstream has closed, even before the loop reads the end."""
    loop = asyncio.get_running_loop()
    theirs = socket.create_server(("127.0.0.1", 0))
    channel = socket.create_connection(theirs.getsockname())
    channel.setblocking(False)
    peer, _ = theirs.accept()
    _, connection = await loop.create_connection(lambda: UpstreamConnection(loop, channel), sock=channel)
    quiet = connection.disturbed
    peer.close()
    theirs.close()

    assert (False, True, True) == (quiet, connection.alive, connection.disturbed)
    connection.abort()


@pytest.mark.parametrize("giving_up", ["stalled", "closed"])
async def test_an_answer_that_was_given_up_never_looks_whole(upstream: Upstream, giving_up: str) -> None:
    """If the answer ends with its connection and the gateway closed that, the answer counts as cut short.

    Otherwise a slow caller would take a cut answer for a complete one.
    """

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\n\r\nhello")
        await upstream.hang(arrival, writer)

    upstream.reply = reply
    patience = 0.1 if giving_up == "stalled" else 60.0
    leg = Leg(
        Settings(url=upstream.url, response_timeout=5.0, idle_timeout=patience, max_connections=1), None, names=Names()
    )
    incoming = await leg.send(Outgoing("GET", b"/threads"))
    received = await incoming.read()
    if giving_up == "closed":
        await leg.close()
    await upstream.until(lambda: upstream.open == 0)

    assert b"hello" == received
    with pytest.raises(Lost):
        await incoming.read()
    incoming.close()
    await leg.close()


@pytest.mark.parametrize("ending", ["whole", "cut"])
async def test_over_tls_an_answer_ends_where_the_upstream_says_so(tmp_path: Path, ending: str) -> None:
    """A connection that breaks without TLS close_notify does not end an answer (RFC 9112 section 9.8).

    Otherwise an attacker who can cut a connection could shorten an answer.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    upstream, arrived = Upstream(), asyncio.Event()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\n\r\nhello")
        await arrived.wait()
        if ending == "whole":
            writer.close()
        else:
            writer.transport.abort()

    upstream.reply = reply
    await upstream.start(ssl=context)
    try:
        async with running(tmp_path / "run", upstream, upstream={"ca": str(tmp_path / "ca.pem")}) as run:
            caller = await run.connect()
            await caller.send(head())
            async with asyncio.timeout(DEADLINE):
                begin = await caller.reader.readuntil(b"hello\r\n")
                arrived.set()
                rest = await caller.reader.read(5)

            assert b"transfer-encoding: chunked" in begin.lower()
            assert (b"0\r\n\r\n" if ending == "whole" else b"") == rest
    finally:
        await upstream.stop()


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("ending", ["kept", "closed", "cut", "until close"])
async def test_an_answer_of_tiny_chunks_is_whole(tmp_path: Path, over_tls: bool, ending: str) -> None:
    """Chunks of a byte, read over many turns of the event loop, are all there, also if the connection ends behind them.

    One that ends before the last chunk is cut for the caller too, and one that ends with its connection is whole.
    """
    sent = bytes(range(256)) * 100
    framed = b"".join(b"1\r\n%c\r\n" % byte for byte in sent)

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if ending == "until close":
            writer.write(b"HTTP/1.1 200 X\r\n\r\n" + sent)
        else:
            writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)
            writer.write(b"" if ending == "cut" else b"0\r\n\r\n")
        if ending != "kept":
            writer.close()

    upstream, more, settings = Upstream(), dict[str, Any](), dict[str, Any]()
    if over_tls:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        more["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(more["ssl"])
        settings["upstream"] = {"ca": str(tmp_path / "ca.pem")}
    upstream.reply = reply
    await upstream.start(**more)
    try:
        async with running(tmp_path / "run", upstream, **settings) as run, asyncio.timeout(DEADLINE):
            if ending == "cut":
                with pytest.raises(Cut) as cut:
                    await run.ask()
                assert sent == cut.value.received
            else:
                bodies = [(await run.ask()).body]
                made = upstream.connections
                bodies.append((await run.ask()).body)
                assert [sent] * 2 == bodies
                assert ending != "kept" or made == upstream.connections
    finally:
        await upstream.stop()
