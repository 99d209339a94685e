"""Header fields and credentials: which pass, which are dropped, and which identify a caller.

SECURITY: credentials, hop-by-hop abuse, injection, spoofed origin, cookies, compression (RFC 9110 sections 5.5, 7.6,
11.6).
"""

from typing import Final

import pytest

from tests.support.in_process import Running
from tests.support.rows import Row, get, passed, play, post, refused, sent
from tests.support.sentinels import KEY, OTHER_KEY, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HOST_LINE: Final = b"GET /api/v2/threads HTTP/1.1\r\nHost: gateway.test\r\n"


def _proof(*values: str) -> bytes:
    lines = "".join(f"Authorization: {value}\r\n" for value in values).encode("latin-1")
    return _HOST_LINE + lines + b"\r\n"


def _unknown(name: str, *values: str) -> Row:
    return refused(f"credential-{name}", _proof(*values), 401, closes=False)


CREDENTIALS: Final = [
    _unknown("none"),
    _unknown("empty", ""),
    _unknown("scheme-only", "Bearer"),
    _unknown("no-scheme", TOKEN),
    _unknown("other-scheme", f"Token {TOKEN}"),
    _unknown("basic", "Basic YXBwOnBhc3M="),
    _unknown("prefix", f"Bearer {TOKEN[:-1]}"),
    _unknown("suffix", f"Bearer {TOKEN}x"),
    _unknown("case", f"Bearer {TOKEN.upper()}"),
    _unknown("two-spaces", f"Bearer  {TOKEN}"),
    _unknown("tab", f"Bearer\t{TOKEN}"),
    _unknown("comma", f"Bearer {TOKEN}, Bearer x"),
    _unknown("comma-before", f"Bearer x, Bearer {TOKEN}"),
    _unknown("parameter", f"Bearer {TOKEN}; a=b"),
    _unknown("quoted", f'Bearer "{TOKEN}"'),
    _unknown("eight-bit", "Bearer \xe9\xff"),
    _unknown("utf-8", "Bearer " + TOKEN.replace("a", "а").encode().decode("latin-1")),
    _unknown("nbsp", f"Bearer {TOKEN}\xa0"),
    _unknown("long", "Bearer " + "a" * 8000),
    _unknown("upstream-key", f"Bearer {KEY}"),
    _unknown("other-upstream-key", f"Bearer {OTHER_KEY}"),
    _unknown("digest", "Bearer sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    refused("credential-v1", _proof("Bearer pl_v1_abcdef"), 410, closes=False),
    refused("credential-bad-good", _proof("Bearer x", f"Bearer {TOKEN}"), closes=False),
    refused("credential-good-bad", _proof(f"Bearer {TOKEN}", "Bearer x"), closes=False),
    refused("credential-good-good", _proof(f"Bearer {TOKEN}", f"Bearer {TOKEN}"), closes=False),
    refused("credential-folded", _proof(f"Bearer\r\n {TOKEN}")),
    *(
        refused(f"credential-in-{name}", _HOST_LINE + f"{name}: {value}\r\n\r\n".encode(), 401, closes=False)
        for name, value in {
            "Proxy-Authorization": f"Bearer {TOKEN}",
            "X-Authorization": f"Bearer {TOKEN}",
            "X-Api-Key": TOKEN,
            "X-Forwarded-Authorization": f"Bearer {TOKEN}",
            "Cookie": f"token={TOKEN}",
            "Auth_orization": f"Bearer {TOKEN}",
        }.items()
    ),
    refused(
        "credential-in-query",
        _HOST_LINE.replace(b"/threads", f"/threads?access_token={TOKEN}&token={TOKEN}".encode()) + b"\r\n",
        401,
        closes=False,
    ),
    passed("credential-scheme-case", _proof(f"bEARER {TOKEN}"), sent()),
    passed("credential-name-case", _HOST_LINE + f"aUTHORIZATION: Bearer {TOKEN}\r\n\r\n".encode(), sent()),
]

DROPPED = [
    passed(f"drop-{line.split(':')[0]}", get(line), sent())
    for line in (
        "Proxy-Authorization: Bearer x", "X-Authorization: Bearer x", "X-Api-Key: x", "Api-Key: x", "X-Auth-Token: x",
        "X-Amz-Security-Token: x", "X-CSRF-Token: x", "Cookie: a=b", "Cookie2: a=b", "X-Session-Id: x", "X-Secret: x",
        "Authorization_: Bearer x", "X-Productlane-Key: x", "X_Gateway_Caller: root", "Content_Type: x", "_: x",
        "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-User: root", "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1", "Via: 1.1 other", "True-Client-IP: 1.2.3.4", "CF-Connecting-IP: 1.2.3.4",
        "X-Client-IP: 1.2.3.4", "X-Cluster-Client-IP: 1.2.3.4", "X-Original-URL: /api/v2/companies",
        "X-Rewrite-URL: /api/v2/companies", "X-Matched-Path: /x", "Range: bytes=0-1",
        "X-Remote-User: root", "X-Envoy-Original-Path: /x", "Proxy: http://evil",
        "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X",
        "Connection: keep-alive", "HTTP2-Settings: x", "Content-Length: 0",
    )
]  # fmt: skip
DROPPED += [
    refused("loop", get("Via: 1.1 productlane-gateway"), 508, closes=False),
    refused("loop-among", get("Via: 1.0 a, 1.1 PRODUCTLANE-gateway"), 508, closes=False),
]

# RFC 9110 section 7.6.1: a caller names its own fields in Connection, and must not take ours away by it.
NOMINATED: Final = [
    passed(f"nominate-{name}", get(*lines, f"Connection: {value}"), sent("GET /api/v2/threads", *kept))
    for name, value, lines, kept in (
        ("own", "X-Hop", ["X-Hop: 1", "X-Kept: 2"], ["X-Kept: 2"]),
        ("own-case", "x-HOP , X-two", ["X-Hop: 1", "X-Two: 2"], []),
        ("authorization", "Authorization", [], []),
        ("host", "Host, Content-Length", [], []),
        ("via", "Via", [], []),
        ("many", ", ".join(f"X-{n}" for n in range(50)), ["X-49: 1", "X-50: 2"], ["X-50: 2"]),
        ("empty", ",, ,", ["X: 1"], ["X: 1"]),
    )
] + [
    passed("nominate-length", post("Connection: Content-Length, Transfer-Encoding", "Content-Length: 5", body=b"hello"),
           sent("POST /api/v2/threads", framing="Content-Length: 5", body=b"hello")),
    passed("nominate-close", get("X-Hop: 1", "Connection: X-Hop, close"), sent(), closes=True),
    passed("nominate-twice", get("X-A: 1", "X-B: 2", "Connection: X-A", "Connection: X-B"), sent()),
]  # fmt: skip

KEPT: Final = [
    passed(f"keep-{name}", get(*lines), sent("GET /api/v2/threads", *lines))
    for name, lines in {
        "order": ["B: 1", "A: 2", "B: 3"],
        "case": ["x-CASE: MiXed"],
        "repeats": ["Accept-Language: 1", "accept-language: 2"],
        "accept": ["Accept: */*", "Accept-Encoding: gzip, br", "Accept-Language: de", "User-Agent: x/1"],
        "trace": ["traceparent: 00-1-2-01", "tracestate: a=b", "baggage: c=d"],
        "conditions": ['If-None-Match: W/"a"', "If-Modified-Since: Tue, 24 Nov 2026 00:00:00 GMT"],
        "idempotency": ["Idempotency-Key: abc"],
        # aiohttp gives names that it knows their usual spelling, here `ID`.
        "request-id": ["X-Request-ID: mine"],
        "eight-bit": ["X: a\xffb\x80"],
        "utf-8": ["X: é".encode().decode("latin-1")],
        "empty": ["X:"],
        "tab": ["X: a\tb"],
        "token": ["!#$%&'*+-.^`|~: x"],
        "large": ["X: " + "a" * 60_000],
    }.items()
    if name != "empty"
] + [
    passed("keep-empty", get("X:"), sent("GET /api/v2/threads", "X: ")),
    passed("keep-spaces", get("X: \t a  b \t"), sent("GET /api/v2/threads", "X: a  b")),
    passed("none-invented", get(), sent()),
]  # fmt: skip

# CR and LF are in the table of framing; other control characters are forbidden in values as well.
CONTROLS: Final = [
    refused(f"control-{n:02x}", get(f"X: a{chr(n)}b")) for n in (*range(9), *range(11, 13), *range(14, 32), 127)
]

BODIES: Final = [
    passed(f"content-{name}", post(*lines, f"Content-Length: {len(body)}", body=body),
           sent("POST /api/v2/threads", *lines, framing=f"Content-Length: {len(body)}", body=body))
    for name, lines, body in (
        ("gzip", ["Content-Encoding: gzip"], b"\x1f\x8b\x08\x00not really"),
        ("deflate", ["Content-Encoding: deflate"], b"\x00\x01\x02"),
        ("br", ["Content-Encoding: br"], b"\x00"),
        ("zstd", ["Content-Encoding: zstd"], b"\x28\xb5\x2f\xfd"),
        ("unknown", ["Content-Encoding: x, gzip"], b"abc"),
        ("no-type", [], b"\x00\xff"),
        ("type", ["Content-Type: application/json"], b"{}"),
        ("multipart", ['Content-Type: multipart/form-data; boundary="x"'], b"--x\r\n\r\n--x--\r\n"),
    )
]  # fmt: skip


@pytest.mark.parametrize("row", CREDENTIALS, ids=str)
async def test_only_one_whole_credential_in_its_place_is_believed(wire: Running, row: Row) -> None:
    """A caller is known by exactly one Authorization field with exactly its token."""
    await play(wire, row)


@pytest.mark.parametrize("row", [*DROPPED, *NOMINATED], ids=str)
async def test_a_field_that_could_speak_for_another_is_dropped(wire: Running, row: Row) -> None:
    """Credentials, origins, hop-by-hop fields and twins with `_` never reach the upstream; the key always does."""
    await play(wire, row)


@pytest.mark.parametrize("row", [*KEPT, *BODIES], ids=str)
async def test_everything_else_crosses_untouched(wire: Running, row: Row) -> None:
    """Fields keep their order, case and bytes, bodies are not decoded, and nothing is invented."""
    await play(wire, row)


@pytest.mark.parametrize("row", CONTROLS, ids=str)
async def test_no_control_character_crosses(wire: Running, row: Row) -> None:
    """A value with a control character is refused."""
    await play(wire, row)


async def test_a_cookie_of_one_answer_is_in_no_other_request(wire: Running) -> None:
    """`Set-Cookie` reaches no caller, and no later request carries the cookie upstream."""
    usual, wire.upstream.reply = wire.upstream.reply, b"HTTP/1.1 200 X\r\nSet-Cookie: s=1\r\nContent-Length: 0\r\n\r\n"
    try:
        response = await wire.ask()
    finally:
        wire.upstream.reply = usual

    assert response.get("set-cookie") is None
    await play(wire, passed("next", get(), sent()))
