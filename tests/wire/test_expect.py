"""`Expect: 100-continue`: a body is asked for once its request is allowed, never before (RFC 9110 section 10.1.1)."""

from typing import Final

import pytest

from tests.support.in_process import Running
from tests.support.rows import AUTH, HIDDEN, Row, get, passed, play, post, refused, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECT: Final = "Expect: 100-continue"
FIVE: Final = "Content-Length: 5"
POST: Final = "POST /api/v2/threads"

# A caller that was refused may or may not send its body; the next bytes could be either, so the connection ends.
REFUSED: Final = [
    refused("unknown", post("Expect: 200-ok", FIVE, body=b"hello"), 417, closes=False),
    refused("unknown-second", post(EXPECT, "Expect: x", FIVE, body=b"hello"), 417, closes=False),
    refused("list", post("Expect: 100-continue, x", FIVE, body=b"hello"), 417, closes=False),
    refused("empty", post("Expect:", FIVE, body=b"hello"), 417, closes=False),
    refused("unknown-on-get", get("Expect: x"), 417, closes=False),
    refused("target", post(EXPECT, FIVE, target="/api/v2/threads/..")),
    refused("no-endpoint", post(EXPECT, FIVE, target="/api/v2/nothing"), 404),
    refused("method", get(EXPECT, FIVE, method="PUT"), 405),
    refused("guarded", post(EXPECT, FIVE, target="/api/v2/webhooks"), 403, code="forbidden"),
    refused(
        "no-credential",
        b"POST /api/v2/threads HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + FIVE.encode() + b"\r\n\r\n",
        401,
    ),
    refused("framing", post(EXPECT, "Transfer-Encoding: gzip, chunked")),
    refused("too-large", post(EXPECT, "Content-Length: 99999999999"), 413),
    refused(
        "then-request", post(EXPECT, f"Content-Length: {len(HIDDEN) * 2}", target="/api/v2/nothing", body=HIDDEN), 404
    ),
]

ALLOWED: Final = [
    passed("no-body", get(EXPECT), sent()),
    passed("length-zero", post(EXPECT, "Content-Length: 0"), sent(POST, framing="Content-Length: 0")),
    passed("http10",
           b"POST /api/v2/threads HTTP/1.0\r\n" + AUTH + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
           sent(POST, framing=FIVE, body=b"hello"), closes=True),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=str)
async def test_a_refused_request_is_never_asked_for_its_body(wire: Running, row: Row) -> None:
    """The first answer is the final one."""
    await play(wire, row)


@pytest.mark.parametrize("row", ALLOWED, ids=str)
async def test_where_there_is_nothing_to_ask_for_no_100_is_sent(wire: Running, row: Row) -> None:
    """A request without a body, and a caller that knows no 100, get one answer."""
    await play(wire, row)


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
@pytest.mark.parametrize("framing", [FIVE, "Transfer-Encoding: chunked"])
async def test_an_allowed_request_is_asked_for_its_body_once(wire: Running, value: str, framing: str) -> None:
    """The caller gets 100 from the gateway, then the upstream's answer; the upstream sees no `Expect`."""
    before = len(wire.upstream.received)
    caller = await wire.connect()
    await caller.send(post(f"Expect: {value}", framing))
    interim = await caller.response()
    held = wire.upstream.received[before:]
    await caller.send(b"hello" if framing == FIVE else b"5\r\nhello\r\n0\r\n\r\n")
    final = await caller.response()

    assert (100, 200) == (interim.status, final.status)
    assert b"Expect" not in held
    assert b"Expect" not in wire.upstream.received[before:]
    assert b"hello" == wire.upstream.arrivals[-1].body
