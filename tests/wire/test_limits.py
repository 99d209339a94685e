"""What one caller may cost: heads, bodies, time, connections and pipelines have bounds, each with its own status."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from gateway.proxy.caller_connection import CallerConnection
from gateway.proxy.request import MAX_FIELDS, MAX_HEAD
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running
from tests.support.raw_caller import Cut
from tests.support.recording import Arrival, answer
from tests.support.rows import AUTH, Row, get, passed, play, post, refused, sent

Start = Callable[..., Awaitable[Running]]
CHUNKED: Final = "Transfer-Encoding: chunked"
MIB: Final = 1 << 20


def _sized(size: int, fields: int = 1) -> bytes:
    """A request with a head of this many bytes, spread over this many extra fields."""
    lines = [f"X-{n:03}: " for n in range(fields)]
    pad = size - len(get(*lines))
    lines = [line + "a" * (pad // fields) for line in lines[:-1]] + [
        lines[-1] + "a" * (pad - pad // fields * (fields - 1))
    ]
    return get(*lines)


HEADS: Final = [
    refused("head-one-field", _sized(MAX_HEAD + 1), 431, closes=False),
    refused("head-20-fields", _sized(MAX_HEAD + 1, 20), 431, closes=False),
    refused("head-100-fields", _sized(MAX_HEAD + 5000, 100), 431, closes=False),
    refused("head-field-alone", get("X: " + "a" * (MAX_HEAD + 1)), 431),
    refused("head-field-huge", get("X: " + "a" * 2 * MIB), 431),
    refused("head-name-huge", get("a" * (MAX_HEAD + 1) + ": x"), 431),
    refused("head-endless-field", b"GET /api/v2/threads HTTP/1.1\r\n" + AUTH + b"X: " + b"a" * MIB, 431),
    refused("head-endless-spaces", b"GET /api/v2/threads HTTP/1.1\r\n" + AUTH + b"X:" + b" " * MIB, 431),
    refused(
        "head-endless-fields", b"GET /api/v2/threads HTTP/1.1\r\n" + AUTH + (b"X: " + b"a" * 1000 + b"\r\n") * 100, 431
    ),
    refused("head-fields", get(*["X: y"] * (MAX_FIELDS - 1)), 431),
    refused("head-500-fields", get(*["X: y"] * 500), 431),
    refused("target", get(target="/api/v2/threads?" + "a" * (8193 - len("/api/v2/threads?"))), 414),
    refused("target-64k", get(target="/api/v2/threads?" + "a" * MAX_HEAD), 414),
    refused("target-huge", get(target="/" + "a" * 2 * MIB), 414),
    refused("target-endless", b"GET /" + b"a" * MIB, 414),
    refused("method-endless", b"A" * MIB),
    refused("body-length", post(f"Content-Length: {16 * MIB + 1}"), 413),
    refused("body-length-upload", post(f"Content-Length: {12 * MIB + 1}", target="/api/v2/files"), 413),
    refused("body-length-18-digits", post("Content-Length: 999999999999999999"), 413),
    passed(
        "head-fields-just", get(*["X: y"] * (MAX_FIELDS - 2)), sent("GET /api/v2/threads", *["X: y"] * (MAX_FIELDS - 2))
    ),
    passed("head-just", _sized(MAX_HEAD, 100), _sized(MAX_HEAD, 100)),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", HEADS[:-1], ids=str)
async def test_what_is_too_long_is_told_so(wire: Running, row: Row) -> None:
    """Each bound has its status, and a request at the bound passes."""
    await play(wire, row)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_head_at_the_bound_passes(wire: Running) -> None:
    """64 kB of head, however spread, are served."""
    for fields in (1, 100):
        response = await wire.raw(_sized(MAX_HEAD, fields))

        assert 200 == response.status
        assert 60_000 < len(wire.upstream.arrivals[-1].head)


@pytest.mark.parametrize("begun", [b"", b"G", get()[:-2], get()[:-1], b"\r\n", post("Content-Length: 5")[:30]])
async def test_a_head_that_does_not_come_is_a_408(start: Start, begun: bytes) -> None:
    """A new connection has `limits.head_timeout` for its first head, however it dribbles."""
    run = await start(limits={"head_timeout": "200ms"})
    caller = await run.connect()
    await caller.send(begun)
    response = await caller.response()

    assert (408, "request_timeout", "close") == (response.status, response.code, response.get("connection"))
    assert b"" == await caller.closed()


@pytest.mark.parametrize("used", [False, True])
async def test_dribbling_does_not_extend_a_head(start: Start, used: bool) -> None:
    """A byte now and then does not keep a head alive, on a used connection neither."""
    run = await start(limits={"head_timeout": "300ms"})
    caller = await run.connect()
    if used:
        await caller.send(get())
        assert 200 == (await caller.response()).status

    async def dribble() -> None:
        for byte in b"GET /" + b"a" * 10_000:
            caller.writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    dribbling = asyncio.create_task(dribble())
    response = await caller.response()
    dribbling.cancel()

    assert (408, "request_timeout") == (response.status, response.code)


async def test_a_head_behind_a_request_has_its_time_too(start: Start) -> None:
    """Half a head that came together with a whole request is timed once that request is answered."""
    run = await start(limits={"head_timeout": "200ms"})
    caller = await run.connect()
    await caller.send(get() + b"GET /api/v2/thr")

    assert [200, 408] == [(await caller.response()).status, (await caller.response()).status]
    assert b"" == await caller.closed()


async def test_an_idle_connection_ends_in_silence(start: Start) -> None:
    """After `limits.keepalive_timeout` without a byte the connection closes, and nothing is said on it."""
    run = await start(limits={"keepalive_timeout": "200ms", "head_timeout": "100ms"})
    caller = await run.connect()
    await caller.send(post("Content-Length: 5", body=b"hello"))

    assert 200 == (await caller.response()).status
    assert b"" == await caller.closed()


async def test_connections_are_capped_in_all(start: Start) -> None:
    """One connection too many gets 503 with Retry-After; once another ends there is room again."""
    run = await start(limits={"connections": 2})
    first, second, third = [await run.connect() for _ in range(3)]
    response = await third.response()
    rest = await third.closed()
    await first.close()
    await _until(lambda: len(run.gateway.parts.listener.connections) == 1)

    assert (503, "overloaded", "1") == (response.status, response.code, response.get("retry-after"))
    assert "close" == response.get("connection")
    assert "limits.connections`" in str(response.get("proxy-status"))
    assert b"" == rest
    assert 200 == (await run.ask()).status
    await second.send(get())
    assert 200 == (await second.response()).status


async def test_connections_are_capped_by_address(start: Start) -> None:
    """One address cannot take every connection; another one still gets in."""
    run = await start(limits={"connections_per_address": 1}, listen="0.0.0.0:0")
    await run.connect()
    response = await (await run.connect()).response()
    port = run.gateway.traffic.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    writer.write(get())
    other = await reader.readuntil(b"\r\n")
    writer.close()
    await writer.wait_closed()

    assert (503, "overloaded") == (response.status, response.code)
    assert "limits.connections_per_address`" in str(response.get("proxy-status"))
    assert b"HTTP/1.1 200 X\r\n" == other


@pytest.mark.slow
@pytest.mark.parametrize(("count", "padding", "most"), [(1000, 0, 32), (100, 8000, 10)], ids=["number", "bytes"])
async def test_a_pipeline_is_bounded_and_lost_nothing(start: Start, count: int, padding: int, most: int) -> None:
    """Of many requests at once only 32, or 64 KiB, wait while the first is served; all are answered in order."""
    run = await start()
    await run.ask()
    hold = asyncio.Event()
    deepest = 0

    async def slowly(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        nonlocal deepest
        (connection,) = (c for c in run.gateway.parts.listener.connections if c.serving)
        await hold.wait()
        deepest = max(deepest, len(connection._inbox))
        writer.write(answer(200, arrival.target))

    run.upstream.reply = slowly
    caller = await run.connect()
    pad = f"X-Pad: {'a' * padding}"
    caller.writer.write(b"".join(get(pad, target=f"/api/v2/threads/{n}") for n in range(count)))
    await run.upstream.until(lambda: len(run.upstream.arrivals) == 2)
    hold.set()
    bodies = [(await caller.response()).body for _ in range(count)]

    assert [f"/api/v2/threads/{n}".encode() for n in range(count)] == bodies
    assert 1 < deepest <= most


async def test_a_head_without_end_behind_a_request_is_not_kept(start: Start) -> None:
    """While a request is served, what follows it on the connection is bounded as a first head is."""
    run = await start()
    await run.ask()
    writers: list[asyncio.StreamWriter] = []
    run.upstream.reply = lambda _, writer: writers.append(writer)
    caller = await run.connect()
    await caller.send(get())
    await run.upstream.until(lambda: bool(writers))
    caller.writer.write(b"GET /api/v2/threads HTTP/1.1\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 120)

    assert b"" == await caller.closed()
    await run.upstream.until(lambda: writers[0].is_closing() or not run.upstream.open)


@pytest.mark.slow
@pytest.mark.parametrize("flood", [b"X: " + b"a" * 1000 + b"\r\n", b"X:" + b" " * 1000])
async def test_trailers_without_end_are_not_kept(start: Start, flood: bytes) -> None:
    """What follows a chunked body's last chunk is bounded, and such a body never looks whole upstream."""
    run = await start()
    caller = await run.connect()
    await caller.send(post(CHUNKED, body=b"5\r\nhello\r\n0\r\n"))
    caller.writer.write(flood * 2000)
    try:
        status = (await caller.response()).status
    except (Cut, ConnectionError):
        status = 400
    await _until(lambda: not run.gateway.parts.listener.connections)

    assert status in (400, 431)
    assert not any(arrival.complete for arrival in run.upstream.arrivals)


@pytest.mark.slow
async def test_large_uploads_are_not_taken_for_heads(start: Start) -> None:
    """Megabytes of body, whole or in small chunks with long extensions, count against the body's limit alone."""
    run = await start()
    body = b"b" * 3 * MIB
    whole = await run.ask("POST", "/api/v2/threads", body=body)
    chunks = (b"400;" + b"e" * 500 + b"\r\n" + b"c" * 1024 + b"\r\n") * 500
    chunked = await run.raw(post(CHUNKED, body=chunks + b"0\r\n\r\n"))
    caller = await run.connect()
    for _ in range(3):
        await caller.send(post(f"Content-Length: {len(body)}", body=body))
        assert 200 == (await caller.response()).status

    assert [200, 200] == [whole.status, chunked.status]
    assert [len(body), 500 * 1024] + [len(body)] * 3 == [len(arrival.body) for arrival in run.upstream.arrivals]


async def _until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - the gateway gives no event for it
            await asyncio.sleep(0.005)


def test_a_connection_is_small() -> None:
    """A connection has no dictionary, so ten thousand of them stay within the bound."""
    assert not hasattr(object.__new__(CallerConnection), "__dict__")
