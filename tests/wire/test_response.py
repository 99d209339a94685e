"""The upstream's answers: malformed, contradictory or unrequested ones never reach a caller.

SECURITY: response splitting and poisoning (RFC 9112 sections 2.2, 4, 6.3 and 11.1).
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.in_process import Running
from tests.support.raw_caller import Cut, Response
from tests.support.recording import Arrival, answer
from tests.support.rows import get, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: Final = b"hello"
POISON: Final = answer(200, b"poison")


@dataclass(frozen=True)
class Reply:
    """What the upstream sends, and whether it then ends the connection."""

    name: str
    raw: bytes
    ends: bool = False

    def __str__(self) -> str:
        return self.name


def _head(*lines: str, status: str = "HTTP/1.1 200 OK", body: bytes = BODY) -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("latin-1") + body


def _lines(**rows: tuple[str, ...]) -> list[Reply]:
    return [Reply(name.replace("_", "-"), _head(*lines)) for name, lines in rows.items()]


LENGTH: Final = "Content-Length: 5"
CHUNKED: Final = "Transfer-Encoding: chunked"

BROKEN: Final = [
    *_lines(
        cl_te=(LENGTH, CHUNKED),
        te_cl=(CHUNKED, LENGTH),
        cl_twice=(LENGTH, "Content-Length: 6"),
        cl_list=("Content-Length: 5, 5",),
        cl_plus=("Content-Length: +5",),
        cl_minus=("Content-Length: -5",),
        cl_hex=("Content-Length: 0x5",),
        cl_space=("Content-Length: 5 5",),
        cl_empty=("Content-Length:",),
        cl_word=("Content-Length: five",),
        cl_huge=("Content-Length: 18446744073709551616",),
        cl_fullwidth=("Content-Length: \xef\xbc\x95",),
        te_gzip=("Transfer-Encoding: gzip, chunked",),
        te_identity=("Transfer-Encoding: identity",),
        te_comma=("Transfer-Encoding: ,chunked",),
        te_twice=(CHUNKED, CHUNKED),
        te_word=("Transfer-Encoding: xchunked",),
        te_ctl=("Transfer-Encoding: \x0bchunked",),
        fold=("X: a", " b", LENGTH),
        fold_tab=("X: a", "\tb", LENGTH),
        fold_first=(" X: a", LENGTH),
        space_colon=("X : a", LENGTH),
        no_colon=("X", LENGTH),
        no_name=(": a", LENGTH),
        bare_lf=("X: a\nContent-Length: 5",),
        bare_cr=("X: a\rContent-Length: 5",),
        nul=("X: a\x00b", LENGTH),
        ctl=("X: a\x01b", LENGTH),
        escape=("X: a\x1bb", LENGTH),
        delete=("X: a\x7fb", LENGTH),
        nul_name=("X\x00: a", LENGTH),
        eight_bit_name=("X\xff: a", LENGTH),
        name_space=("X Y: a", LENGTH),
        name_paren=("X(Y): a", LENGTH),
    ),
    *(
        Reply(f"status-{status!r}", _head(LENGTH, status=status))
        for status in (
            "HTTP/1.1 99 X", "HTTP/1.1 999 X", "HTTP/1.1 600 X", "HTTP/1.1 000 X", "HTTP/1.1 2000 X", "HTTP/1.1 20 X",
            "HTTP/1.1 +200 X", "HTTP/1.1 2x0 X", "HTTP/1.1  200 X", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 200 a\x00b",
            "HTTP/1.1 200 a\rb", "HTTP/2.0 200 OK", "HTTP/2 200 OK", "HTTP/0.9 200 OK", "HTTP/1.2 200 OK",
            "http/1.1 200 OK", "HTTP/1.10 200 OK", "ICY 200 OK",
            "200 OK", "\xef\xbb\xbfHTTP/1.1 200 OK", " HTTP/1.1 200 OK", "",
            "HTTP/1.1 101 Switching Protocols", "HTTP/1.1\t200 OK",
        )
    ),
    Reply("bare-lf-head", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    Reply("bare-lf-line", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello"),
    Reply("bare-lf-end", b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\nhello"),
    Reply("no-head", b"hello"),
    Reply("tls-alert", b"\x15\x03\x01\x00\x02\x02\x46"),
    Reply("endless-head", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000),
    Reply("large-head", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\nContent-Length: 5\r\n\r\nhello"),
    Reply("upgrade", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + POISON),
    Reply("endless-interim", b"HTTP/1.1 103 X\r\n\r\n" * 17 + answer()),
    Reply("nothing", b"", ends=True),
    Reply("half-a-head", b"HTTP/1.1 200 OK\r\nContent-Le", ends=True),
    Reply("interim-only", b"HTTP/1.1 100 Continue\r\n\r\n", ends=True),
]  # fmt: skip

# The head was good and may already be sent, so the answer is visibly cut.
CUT: Final = [
    Reply("length", _head("Content-Length: 50"), ends=True),
    Reply("chunked", _head(CHUNKED, body=b"5\r\nhello\r\n"), ends=True),
    Reply("chunked-in-chunk", _head(CHUNKED, body=b"50\r\nhello"), ends=True),
    Reply("chunked-no-end", _head(CHUNKED, body=b"5\r\nhello\r\n0\r\n"), ends=True),
    *(
        Reply(f"chunk-{name}", _head(CHUNKED, body=b"1\r\nx\r\n" + body))
        for name, body in {
            "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
            "not-hex": b"g\r\nhello\r\n0\r\n\r\n",
            "plus": b"+5\r\nhello\r\n0\r\n\r\n",
            "empty": b"\r\nhello\r\n0\r\n\r\n",
            "long-size": b"1000000000000000005\r\nhello\r\n0\r\n\r\n",
            "too-long": b"5\r\nhelloX\r\n0\r\n\r\n",
            "bare-lf": b"5\nhello\n0\n\n",
            "extension-lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            "extension-nul": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
            "extension-endless": b"5;" + b"a" * 300,
            "bad-trailer": b"0\r\nno trailer\r\n\r\n",
            "endless-trailers": b"0\r\n" + b"X: y\r\n" * 8000,
        }.items()
    ),
]

# The good part before such bytes is delivered; the bytes after it are not the next answer.
SURPLUS: Final = [
    Reply("length", answer(200, BODY) + POISON),
    Reply("length-zero", answer(200, b"") + POISON),
    Reply("chunked", _head(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n") + POISON),
    Reply("no-content", _head(status="HTTP/1.1 204 No Content", body=b"") + POISON),
    Reply("no-content-length", _head(LENGTH, status="HTTP/1.1 204 No Content") + POISON),
    Reply("not-modified", _head(LENGTH, status="HTTP/1.1 304 Not Modified") + POISON),
    Reply("not-modified-body", _head(LENGTH, status="HTTP/1.1 304 Not Modified")),
    Reply("one-byte", answer(200, BODY) + b"\n"),
]


async def _asked(run: Running, reply: Reply, raw: bytes = b"") -> Response:
    """One request that the upstream answers with these bytes."""
    usual = run.upstream.reply

    def give(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(reply.raw)
        if reply.ends:
            writer.close()

    run.upstream.reply = give
    try:
        return await run.raw(raw or post(LENGTH, body=BODY), head_only=raw.startswith(b"HEAD"))
    finally:
        run.upstream.reply = usual


async def _is_clean(run: Running, connections: int) -> None:
    """The next caller gets its own answer, on a connection that the last one has nothing to do with."""
    response = await run.ask()

    assert (200, b'{"ok":true}') == (response.status, response.body)
    assert connections + 1 == run.upstream.connections


@pytest.mark.parametrize("reply", BROKEN, ids=str)
async def test_an_answer_that_cannot_be_trusted_is_a_502(wire: Running, reply: Reply) -> None:
    """The caller gets a 502 and no byte of the broken answer; the upstream connection is closed."""
    await wire.ask()
    connections, arrivals = wire.upstream.connections, len(wire.upstream.arrivals)
    response = await _asked(wire, reply)

    assert (502, "upstream_broken") == (response.status, response.code)
    assert arrivals + 1 == len(wire.upstream.arrivals), "a write is never sent twice"
    await _is_clean(wire, connections)


@pytest.mark.parametrize("reply", CUT, ids=str)
async def test_an_answer_that_breaks_off_never_looks_whole(wire: Running, reply: Reply) -> None:
    """If the body is malformed, the caller gets 502 or a visibly cut answer."""
    await wire.ask()
    connections = wire.upstream.connections
    try:
        response = await _asked(wire, reply)
    except Cut:
        response = None

    assert response is None or (502, "upstream_broken") == (response.status, response.code)
    await _is_clean(wire, connections)


@pytest.mark.parametrize("reply", SURPLUS, ids=str)
async def test_what_follows_an_answer_reaches_nobody(wire: Running, reply: Reply) -> None:
    """Bytes after a complete answer, or after one that has no body, end the connection they came on."""
    await wire.ask()
    connections = wire.upstream.connections
    caller = await wire.connect()
    usual, wire.upstream.reply = wire.upstream.reply, reply.raw
    await caller.send(post(LENGTH, body=BODY))
    response = await caller.response(head_only=b" 304 " in reply.raw[:20])
    wire.upstream.reply = usual
    await caller.send(get())
    following = await caller.response()
    await caller.close()

    assert int(reply.raw[9:12]) == response.status
    assert b"poison" not in response.body
    assert (200, b'{"ok":true}') == (following.status, following.body)
    assert connections + 1 == wire.upstream.connections


@pytest.mark.parametrize(
    "raw", [POISON, b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"\r\n", b"x"]
)
async def test_an_answer_that_nobody_asked_for_ends_its_connection(wire: Running, raw: bytes) -> None:
    """Bytes that arrive while a connection is idle are not the answer to the next request."""
    writers: list[asyncio.StreamWriter] = []
    usual = wire.upstream.reply

    def keep(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(answer())

    wire.upstream.reply = keep
    await wire.ask()
    wire.upstream.reply = usual
    connections = wire.upstream.connections
    writers[0].write(raw)
    await wire.upstream.until(writers[0].is_closing)

    await _is_clean(wire, connections)


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </x>", b"199 X"])
async def test_interim_answers_stay_here(wire: Running, interim: bytes) -> None:
    """The caller gets the final answer alone."""
    response = await _asked(wire, Reply("interim", (b"HTTP/1.1 " + interim + b"\r\n\r\n") * 3 + answer(201, BODY)))

    assert (201, BODY) == (response.status, response.body)
    assert response.get("link") is None


@pytest.mark.parametrize("extra", [b"", BODY, BODY + POISON])
async def test_head_is_answered_without_a_byte_of_body(wire: Running, extra: bytes) -> None:
    """Whatever the upstream sends behind the head, the caller's next answer follows its first at once."""
    caller = await wire.connect()
    usual, wire.upstream.reply = wire.upstream.reply, _head(LENGTH, body=extra)
    await caller.send(get(method="HEAD"))
    head = await caller.response(head_only=True)
    wire.upstream.reply = usual
    await caller.send(get())
    following = await caller.response()
    await caller.close()

    assert (200, "5") == (head.status, head.get("content-length"))
    assert (200, b'{"ok":true}') == (following.status, following.body)


async def test_large_heads_of_the_upstream_pass(wire: Running) -> None:
    """A head just under 64 kB, in one field or in hundreds, reaches the caller whole."""
    for lines in (["X: " + "a" * 65_000], [f"X-RateLimit-{n}: {n}" for n in range(2000)]):
        response = await _asked(wire, Reply("large", _head(*lines, LENGTH)))

        assert (200, BODY) == (response.status, response.body)
        assert set(lines) <= set(response.head.decode().split("\r\n"))


async def test_fields_cross_back_by_rule(wire: Running) -> None:
    """Hop-by-hop fields, those that `Connection` names and `Set-Cookie` stay; the rest keeps order, case and bytes."""
    kept = [
        "X-Request-Id: req_0123456789abcdef",
        "X-RateLimit-Limit: 1000",
        'ETag: W/"x"',
        "Vary: a",
        "b: 1",
        "A: 2",
        "b: 3",
        "X: a\xffb",
        "Content-Encoding: gzip",
        "Location: https://evil.test/",
    ]
    dropped = [
        "Set-Cookie: a=b",
        "set-cookie: c=d",
        "Strict-Transport-Security: max-age=1",
        "Connection: X-Hop",
        "X-Hop: 1",
        "Keep-Alive: x",
        "Upgrade: h2c",
        "Alt-Svc: h3",
        "Trailer: X",
    ]
    response = await _asked(wire, Reply("fields", _head(*kept, *dropped, LENGTH, status="HTTP/1.1 302 Moved")))

    assert "\r\n".join(["HTTP/1.1 302 Moved", *kept, LENGTH]).encode("latin-1") == response.relayed
    assert BODY == response.body
