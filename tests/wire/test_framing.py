"""Where one request ends and the next begins: all readers agree about the messages that the gateway sends.

SECURITY: request smuggling (RFC 9112 sections 6, 7 and 11.2).
"""

from typing import Final

import pytest

from tests.support.in_process import Running
from tests.support.rows import AUTH, HIDDEN, Row, dies, get, passed, play, post, refused, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

POST: Final = "POST /api/v2/threads"
CHUNKED: Final = "Transfer-Encoding: chunked"
HELLO: Final = b"5\r\nhello\r\n0\r\n\r\n"
FIVE: Final = sent(POST, framing="Content-Length: 5", body=b"hello")
FIVE_CHUNKED: Final = sent(POST, framing=CHUNKED, body=HELLO)
# A request without a credential of its own.
NAKED: Final = b"GET /api/v2/companies/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
NONE: Final = sent(POST, framing="Content-Length: 0")


def _coding(value: str, name: str = "") -> Row:
    """A Transfer-Encoding that is not `chunked` alone, over a body that would be a request if it were ignored."""
    return refused(name or f"te-{value!r}", post(f"Transfer-Encoding: {value}", body=b"0\r\n\r\n" + HIDDEN))


def _length(value: str) -> Row:
    return refused(f"cl-{value!r}", post(f"Content-Length: {value}", body=b"hello" + HIDDEN))


def _chunks(name: str, body: bytes) -> Row:
    """A chunked body that cannot be read in one way."""
    return refused(f"chunk-{name}", post(CHUNKED, body=body + HIDDEN))


CONFLICTS: Final = [
    refused("cl-te", post("Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)),
    refused("te-cl", post(CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN)),
    refused("cl0-te", post("Content-Length: 0", CHUNKED, body=HELLO)),
    refused("cl-te-identity", post("Content-Length: 5", "Transfer-Encoding: identity", body=b"hello")),
    refused("cl-te-empty", post("Content-Length: 5", "Transfer-Encoding:", body=b"hello")),
    refused("cl-te-x", post("Content-Length: 5", "Transfer-Encoding: x", body=b"hello")),
    refused("cl-twice-equal", post("Content-Length: 5", "Content-Length: 5", body=b"hello")),
    refused("cl-twice", post("Content-Length: 5", "Content-Length: 0", body=b"hello" + HIDDEN)),
    refused("cl-twice-reversed", post("Content-Length: 0", "Content-Length: 5", body=b"hello" + HIDDEN)),
    refused("cl-case-twice", post("Content-Length: 5", "CONTENT-LENGTH: 6", body=b"hello" + HIDDEN)),
    refused("te-twice", post(CHUNKED, CHUNKED, body=HELLO)),
    refused("te-twice-identity", post(CHUNKED, "Transfer-Encoding: identity", body=HELLO)),
    refused("te-twice-gzip", post("Transfer-Encoding: gzip", CHUNKED, body=HELLO)),
]

LENGTHS: Final = [
    _length(value)
    for value in (
        "+5", "-5", "0x5", "5_", "5_0", "5 5", "5, 5", "5,6", "5,", ",5", "", " ", "five", "5.0", "5e0", "\xb5", "\xb2",
        "\xef\xbc\x95", "18446744073709551616", "99999999999999999999999", "5;5", "5\t5", '"5"', "0b101",
        "\xd9\xa5",
    )
]  # fmt: skip

CODINGS: Final = [
    *(
        _coding(value)
        for value in (
            "xchunked", "chunkedx", "chunked, identity", "identity, chunked", "identity", '"chunked"', "'chunked'",
            "\x0bchunked", "\x0cchunked", "\xa0chunked", "chunked\xa0", "chunked, chunked", "chunked,", ",chunked",
            "gzip, chunked", "gzip", "deflate, chunked", "chunked;q=1", "chunked; x", "ch unked", "", "chun\x00ked",
            "chunked\x00", "identity;chunked", "trailers", "x, chunked", "chunke\u017f".encode().decode("latin-1"),
        )
    ),
    refused("te-http10", b"POST /api/v2/threads HTTP/1.0\r\n" + AUTH + b"Transfer-Encoding: chunked\r\n\r\n" + HELLO),
    refused("te-on-get", get(CHUNKED, body=HELLO)),
]  # fmt: skip

# RFC 9112 section 5: a field line that one parser skips or joins and another believes.
LINES = [
    refused(f"line-{name}", b"POST /api/v2/threads HTTP/1.1\r\n" + AUTH + line + b"\r\n\r\n" + HELLO + HIDDEN)
    for name, line in {
        "space-before-colon": b"Transfer-Encoding : chunked",
        "tab-before-colon": b"Transfer-Encoding\t: chunked",
        "leading-space": b" Transfer-Encoding: chunked",
        "leading-tab": b"\tTransfer-Encoding: chunked",
        "folded": b"Transfer-Encoding:\r\n chunked",
        "folded-value": b"Content-Length: 0\r\n 5",
        "folded-tab": b"X: y\r\n\tTransfer-Encoding: chunked",
        "cr-hides": b"X: y\rTransfer-Encoding: chunked",
        "lf-hides": b"X: y\nTransfer-Encoding: chunked",
        "cr-cr-lf": b"X: y\r\r\nTransfer-Encoding: chunked",
        "lf-lf": b"X: y\n\nTransfer-Encoding: chunked",
        "nul-in-name": b"Transfer-Encoding\x00: chunked",
        "nul-in-value": b"X: y\x00Transfer-Encoding: chunked",
        "ctl-in-name": b"Transfer-\x01Encoding: chunked",
        "eight-bit-name": b"Transfer-Encoding\xa0: chunked",
        "no-colon": b"Transfer-Encoding chunked",
        "no-name": b": chunked",
        "name-in-brackets": b"(Transfer-Encoding): chunked",
        "quote-in-name": b'"Content-Length": 5',
        "slash-in-name": b"Content/Length: 5",
        "at-in-name": b"Content@Length: 5",
        "comma-in-name": b"Content,Length: 5",
        "equals-in-name": b"Content=Length: 5",
    }.items()
]
LINES += [
    refused("bare-lf-head", b"GET /api/v2/threads HTTP/1.1\nHost: a\n\n"),
    refused("bare-lf-line", b"GET /api/v2/threads HTTP/1.1\n" + AUTH + b"\r\n"),
    refused("bare-cr-line", b"GET /api/v2/threads HTTP/1.1\r" + AUTH + b"\r\n"),
    refused("bare-lf-end", get()[:-2] + b"\n" + HIDDEN),
    refused("first-line-folded", b"GET /api/v2/threads HTTP/1.1\r\n X: y\r\n" + AUTH + b"\r\n"),
    refused("not-http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + HIDDEN),
    refused("not-http-text", b"hello\r\n\r\n"),
    refused("junk-after-request", get(body=b"junk\r\n\r\n")),
    refused("junk-behind-body", post("Content-Length: 5", body=b"hello\x00\r\n\r\n")),
]

CHUNKS: Final = [
    _chunks("0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunks("plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    _chunks("minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunks("underscore", b"5_\r\nhello\r\n0\r\n\r\n"),
    _chunks("not-hex", b"g\r\nhello\r\n0\r\n\r\n"),
    _chunks("no-size", b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("17-digits", b"00000000000000005\r\nhello\r\n0\r\n\r\nx" + b"f" * 17 + b"\r\n"),
    _chunks("overflow", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("space-before", b" 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("space-after", b"5 \r\nhello\r\n0\r\n\r\n"),
    _chunks("tab-after", b"5\t\r\nhello\r\n0\r\n\r\n"),
    _chunks("lf-in-extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    _chunks("cr-in-extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    _chunks("nul-in-extension", b"5;a\x00b\r\nhello\r\n0\r\n\r\n"),
    _chunks("bare-lf-size", b"5\nhello\r\n0\r\n\r\n"),
    _chunks("bare-cr-size", b"5\rhello\r\n0\r\n\r\n"),
    _chunks("bare-lf-data", b"5\r\nhello\n0\r\n\r\n"),
    _chunks("data-too-long", b"5\r\nhelloX\r\n0\r\n\r\n"),
    _chunks("data-too-short", b"6\r\nhello\r\n0\r\n\r\n"),
    _chunks("no-crlf-after-data", b"5\r\nhello0\r\n\r\n"),
    _chunks("comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
    _chunks("bad-trailer", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n"),
    _chunks("folded-trailer", b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    _chunks("bare-lf-end", b"5\r\nhello\r\n0\r\n\n"),
]

BODIES: Final = [
    refused("get-with-body", get("Content-Length: 31", body=b"GET /api/v2/companies HTTP/1.1\r\n")),
    refused("head-with-body", get("Content-Length: 5", body=b"hello", method="HEAD")),
    refused("options-with-body", get("Content-Length: 5", body=b"hello", method="OPTIONS")),
    refused("get-fat", get(f"Content-Length: {len(HIDDEN)}", body=HIDDEN)),
]

GOOD: Final = [
    passed("plain", get(), sent()),
    passed("get-length-zero", get("Content-Length: 0"), sent()),
    passed("length", post("Content-Length: 5", body=b"hello"), FIVE),
    passed("length-zeros", post("Content-Length: 0000005", body=b"hello"), FIVE),
    passed("length-spaces", post("Content-Length:  \t5 \t", body=b"hello"), FIVE),
    passed("length-none", post(), NONE),
    passed("length-zero", post("Content-Length: 0"), NONE),
    passed("request-as-body", post(f"Content-Length: {len(HIDDEN)}", body=HIDDEN),
           sent(POST, framing=f"Content-Length: {len(HIDDEN)}", body=HIDDEN)),
    passed("http10", b"GET /api/v2/threads HTTP/1.0\r\n" + AUTH + b"\r\n", sent(), closes=True),
    passed("http10-no-host", b"GET /api/v2/threads HTTP/1.0\r\n" + AUTH.split(b"\r\n", 1)[1] + b"\r\n", sent(),
           closes=True),
    passed("http10-body", b"POST /api/v2/threads HTTP/1.0\r\n" + AUTH + b"Content-Length: 5\r\n\r\nhello", FIVE,
           closes=True),
    passed("line-breaks-before", b"\r\n\r\n" + get(), sent()),
    passed("pipelined", get() + post("Content-Length: 5", body=b"hello") + get(), sent(), FIVE, sent()),
    passed("pipelined-40", get() * 40, *[sent()] * 40),
    passed("pipelined-before-chunked", get() + post(CHUNKED, body=HELLO), sent(), FIVE_CHUNKED, closes=True),
    passed("close", get("Connection: close"), sent(), closes=True),
    passed("underscore-length", post("Content_Length: 5"), NONE),
    passed("underscore-coding", post("Transfer_Encoding: chunked", "Content-Length: 5", body=b"hello"), FIVE),
]  # fmt: skip

# The connection ends after a chunked body: aiohttp's parser would take the last trailer for the next request's field.
CHUNKED_BODIES = [
    passed(f"chunked-{name}", raw, FIVE_CHUNKED, closes=True)
    for name, raw in {
        "plain": post(CHUNKED, body=HELLO),
        "case": post("transfer-encoding: CHUNKED ", body=HELLO),
        "extension": post(CHUNKED, body=b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n"),
        "zeros": post(CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"),
        "then-request": post(CHUNKED, body=HELLO + HIDDEN),
        "trailers": post(CHUNKED, "Trailer: X", body=b"5\r\nhello\r\n0\r\nX: y\r\nAuthorization: Bearer x\r\n\r\n"),
        "trailer-credential": post(CHUNKED, body=HELLO[:-2] + AUTH.split(b"\r\n", 1)[1] + b"\r\n" + NAKED),
        "trailer-field": post(CHUNKED, body=HELLO[:-2] + b"X-Trail: y\r\n\r\n" + HIDDEN),
    }.items()
]
CHUNKED_BODIES += [
    passed(
        "chunked-empty", post(CHUNKED, body=b"0\r\n\r\n"), sent(POST, framing=CHUNKED, body=b"0\r\n\r\n"), closes=True
    ),
    refused("trailer-length", post(CHUNKED, body=HELLO[:-2] + b"Content-Length: 7\r\n\r\n" + HIDDEN)),
    refused("trailer-hides-request", post(CHUNKED, body=HELLO[:-2] + HIDDEN.replace(b"GET ", b"GET: ") + HIDDEN)),
    refused("trailer-coding", post(CHUNKED, body=HELLO[:-2] + b"Transfer-Encoding: x\r\n\r\n" + HIDDEN)),
]

# RFC 9110 section 7.8: an offer to change the protocol is passed over, and the connection is not used again.
UPGRADES: Final = [
    passed("websocket", get("Upgrade: websocket", "Connection: Upgrade", body=HIDDEN), sent(), closes=True),
    passed("websocket-alone", get("Upgrade: websocket"), sent(), closes=True),
    passed("websocket-body",
           post("Upgrade: websocket", "Connection: Upgrade", "Content-Length: 5", body=b"hello" + HIDDEN),
           FIVE, closes=True),
    passed("websocket-chunked", post("Upgrade: websocket", "Connection: Upgrade", CHUNKED, body=HELLO + HIDDEN),
           FIVE_CHUNKED, closes=True),
    passed("h2c", get("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"),
           sent(), closes=True),
    passed("tls", get("Upgrade: TLS/1.2", "Connection: Upgrade"), sent(), closes=True),
    refused("h2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    refused("connect", get(target="evil:443", method="CONNECT", body=HIDDEN)),
    refused("connect-path", get(target="/api/v2/threads", method="CONNECT", body=HIDDEN)),
]  # fmt: skip


@pytest.mark.parametrize("row", [*CONFLICTS, *LENGTHS, *CODINGS, *LINES, *CHUNKS, *BODIES], ids=str)
async def test_framing_that_two_could_read_differently_is_refused(wire: Running, row: Row) -> None:
    """The request gets one answer, the connection ends, and no complete request reaches the upstream."""
    if row.name.startswith("chunk-"):
        await _broken_upload(wire, row)
    else:
        await play(wire, row)


async def _broken_upload(wire: Running, row: Row) -> None:
    """An upload may have begun to stream when its framing breaks; then it never ends upstream."""
    arrivals, before = len(wire.upstream.arrivals), len(wire.upstream.received)
    caller = await wire.connect()
    await caller.send(row.raw)
    response = await caller.response()

    assert (400, "invalid_request", "close") == (response.status, response.code, response.get("connection"))
    assert b"" == await caller.closed()
    begun = bytes(wire.upstream.received[before:])
    assert begun == b"" or not begun.endswith(b"0\r\n\r\n")
    await wire.upstream.until(lambda: len(wire.upstream.arrivals) > arrivals or not begun)
    assert [False] * bool(begun) == [arrival.complete for arrival in wire.upstream.arrivals[arrivals:]]
    assert b"smuggled" not in begun


@pytest.mark.parametrize("row", [*GOOD, *CHUNKED_BODIES, *UPGRADES], ids=str)
async def test_a_plain_request_arrives_as_one_plain_request(wire: Running, row: Row) -> None:
    """What reaches the upstream is rebuilt, with one framing and these very bytes."""
    await play(wire, row)


@pytest.mark.parametrize("tail", [b"", b"3", b"3\r\n", b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n"])
async def test_an_upload_that_is_cut_short_never_looks_whole(wire: Running, tail: bytes) -> None:
    """If the caller leaves in the middle of a body, the upstream never sees the end of that body."""
    arrivals, before = len(wire.upstream.arrivals), len(wire.upstream.received)
    await dies(wire, post(CHUNKED, body=b"5\r\nhello\r\n" + tail))
    await wire.upstream.until(lambda: len(wire.upstream.arrivals) > arrivals or len(wire.upstream.received) == before)

    assert not any(arrival.complete for arrival in wire.upstream.arrivals[arrivals:])
    assert not bytes(wire.upstream.received[before:]).endswith(b"0\r\n\r\n")


async def test_a_stated_length_that_is_not_met_reaches_nobody(wire: Running) -> None:
    """A small incomplete body uses no upstream connection."""
    before = len(wire.upstream.received)
    await dies(wire, post("Content-Length: 50", body=b"hello"))

    assert before == len(wire.upstream.received)
