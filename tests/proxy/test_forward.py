"""`gateway.proxy.forward`: the request that is sent upstream, and the answer that comes back."""

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.in_process import Running
from tests.support.raw_caller import head
from tests.support.recording import Arrival, answer, error
from tests.support.sentinels import KEY, OTHER_KEY

Start = Callable[..., Any]


async def test_every_answer_has_the_gateways_id(run: Running) -> None:
    """Every answer has the log's id in `X-Gateway-Request-Id`; `X-Request-Id` is Productlane's."""
    run.upstream.reply = answer(fields=("X-Request-Id: req_0123456789abcdef", "X-Gateway-Request-Id: forged"))
    answers = [await run.ask(), await run.ask("GET", "/api/v2/me"), await run.ask("GET", "/api/v2/nothing")]
    lines = await run.lines(3)

    assert [line["request_id"] for line in lines] == [one.get("x-gateway-request-id") for one in answers]
    assert "req_0123456789abcdef" == answers[0].get("x-request-id")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_relayed_and_not_followed(run: Running, status: int) -> None:
    """The caller gets the upstream's redirect as it is; the gateway sends no key to its target."""
    run.upstream.reply = answer(status, b"", fields=("Location: http://127.0.0.1:1/api/v2/threads",))
    response = await run.ask()

    assert (status, "http://127.0.0.1:1/api/v2/threads") == (response.status, response.get("location"))
    assert 1 == len(run.upstream.arrivals)


@pytest.mark.parametrize("chunked", [False, True])
async def test_compressed_answers_cross_as_they_are(run: Running, chunked: bool) -> None:
    """The bytes of a gzip body, and the field that asked for it, cross unread in both directions."""
    packed = gzip.compress(b'{"data":[]}' * 1000)
    coded = ("Content-Type: application/json", "Content-Encoding: gzip")
    run.upstream.reply = answer(200, packed, fields=coded)
    if chunked:
        lines = "\r\n".join(("HTTP/1.1 200 X", *coded, "Transfer-Encoding: chunked")).encode()
        run.upstream.reply = lines + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    response = await run.ask("GET", "/api/v2/threads", "Accept-Encoding: gzip, br")

    (arrival,) = run.upstream.arrivals
    assert ["gzip, br"] == arrival.all("Accept-Encoding")
    assert packed == response.body
    assert "gzip" == response.get("content-encoding")


@pytest.mark.parametrize(
    ("method", "reply", "expected"),
    [
        ("HEAD", b"HTTP/1.1 200 X\r\nContent-Length: 1234\r\n\r\n", b"HTTP/1.1 200 X\r\nContent-Length: 1234"),
        ("HEAD", b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 X"),
        ("HEAD", b"HTTP/1.1 404 X\r\nContent-Length: 99\r\n\r\n", b"HTTP/1.1 404 X\r\nContent-Length: 99"),
        ("DELETE", b"HTTP/1.1 204 X\r\n\r\n", b"HTTP/1.1 204 X"),
        ("GET", b"HTTP/1.1 304 X\r\nETag: a\r\n\r\n", b"HTTP/1.1 304 X\r\nETag: a"),
        (
            "GET",
            b"HTTP/1.1 304 X\r\nContent-Length: 1234\r\n\r\n",
            b"HTTP/1.1 304 X\r\nContent-Length: 1234",
        ),
    ],
)
async def test_an_answer_without_a_body_ends_at_its_head(
    run: Running, method: str, reply: bytes, expected: bytes
) -> None:
    """To HEAD, and with 204 and 304, no body byte follows and no length is made up, so the next answer is the next."""
    run.upstream.reply = lambda arrival, writer: writer.write(
        reply if arrival.method == method else answer(200, b"next")
    )
    caller = await run.connect()
    await caller.send(head(method, "/api/v2/threads/t_1") + head("PATCH", "/api/v2/threads/t_1", "Content-Length: 0"))
    first = await caller.response(head_only=True)
    second = await caller.response()

    assert expected == first.relayed
    assert b"next" == second.body


async def test_an_upstream_error_crosses_unchanged(run: Running) -> None:
    """A caller sees Productlane's own envelope, id and fields, as if nothing stood between."""
    reply = error(409, "conflict", hint="closed")
    run.upstream.reply = reply
    response = await run.ask("POST", "/api/v2/threads", body=b"{}")

    assert 409 == response.status
    assert reply.partition(b"\r\n\r\n")[2] == response.body
    assert "req_00000000000000aa" == response.get("x-request-id")
    assert response.get("proxy-status") is None


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"[" * 100_000, b"\xff\xfe{"])
async def test_an_error_that_is_not_productlanes_crosses_too(run: Running, body: bytes) -> None:
    """Whatever a host in front of the API answers is relayed, however odd it is."""
    run.upstream.reply = answer(502, body, fields=("Content-Type: text/html",))
    response = await run.ask()

    assert (502, body) == (response.status, response.body)


@pytest.mark.parametrize(
    ("status", "code", "translated"),
    [(401, "unauthenticated", "upstream_key_rejected"), (410, "unsupported_key_version", "upstream_key_unsupported")],
)
async def test_a_refused_key_is_relayed_or_translated_as_set(
    start: Start, status: int, code: str, translated: str
) -> None:
    """`key_errors` decides whether callers see Productlane's 401 and 410 or a 502 that names the key's fault."""
    relay, translate = await start(upstream={"key_errors": "relay"}), await start()
    relay.upstream.reply = error(status, code)
    passed, turned = await relay.ask(), await translate.ask()

    assert (status, code) == (passed.status, passed.code)
    assert f"received-status={status}" in str(passed.get("proxy-status"))
    assert "key main, slot 1" in str(passed.get("proxy-status"))
    assert (502, translated) == (turned.status, turned.code)
    assert "key main, slot 1" in str(turned.get("proxy-status"))
    said = {"status": str(status), "code": code, "source": "upstream", "key": "main"}
    assert 1 == await translate.metric("auth_responses_total") == await translate.metric("auth_responses_total", **said)


async def test_a_revoked_key_is_one_story_from_the_first_request_on(run: Running) -> None:
    """By default no caller ever sees a 401 about a key that is not its own: not the first, and not the second."""
    run.upstream.reply = run.upstream.me = error(401, "unauthenticated")
    answers = [await run.ask() for _ in range(3)]

    assert [(502, "upstream_key_rejected")] * 3 == [(one.status, one.code) for one in answers]


@pytest.mark.parametrize("body", [b"<html>who are you</html>", b'{"error": 1}', b""])
async def test_a_401_without_an_envelope_is_taken_for_a_refused_key(start: Start, body: bytes) -> None:
    """A bare 401 in front of the API means the same, so `translate` turns it too."""
    run = await start()
    run.upstream.reply = answer(401, body)
    response = await run.ask()

    assert (502, "upstream_key_rejected") == (response.status, response.code)


async def test_a_key_echoed_in_an_error_is_blotted_out(start: Start) -> None:
    """An upstream that quotes the key, in a body or a field, does not teach it to the caller."""
    run = await start(upstream={"key_errors": "relay"})
    quoted = json.dumps({"error": {"code": "unauthenticated", "message": f"bad key {KEY}"}}).encode()
    run.upstream.reply = answer(401, quoted, fields=("Content-Type: application/json", f"WWW-Authenticate: x={KEY}"))
    response = await run.ask()

    assert KEY.encode() not in response.head + response.body
    assert b"bad key pl_v2_" in response.body
    assert str(len(response.body)) == response.get("content-length")
    assert all(KEY not in json.dumps(line) for line in await run.lines())


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_key_echoed_in_a_large_error_keeps_the_framing_right(run: Running, chunked: bool) -> None:
    """A blotted-out error that is streamed still ends where its head says, so nothing after it is misread."""
    body = f"key {KEY} ".encode() + b"x" * 200_000
    run.upstream.reply = answer(500, body, fields=())
    if chunked:
        run.upstream.reply = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
    caller = await run.connect()
    await caller.send(head())
    first = await caller.response()
    run.upstream.reply = answer()
    await caller.send(head())
    second = await caller.response()

    assert KEY.encode() not in first.body
    assert first.body.endswith(b"x" * 200_000)
    assert b'{"ok":true}' == second.body


@pytest.mark.parametrize(
    ("reply", "asked_again"),
    [
        (error(401, "unauthenticated"), True),
        (error(410, "unsupported_key_version"), True),
        (error(403, "scope_required"), True),
        (error(403, "forbidden"), False),
        (error(404, "not_found"), False),
        (answer(), False),
    ],
)
async def test_an_answer_about_the_key_makes_its_identity_be_asked_anew(
    run: Running, reply: bytes, asked_again: bool
) -> None:
    """After 401, 410 or 403 scope_required the remembered scopes are not believed any longer; after others they are."""
    run.upstream.reply = reply
    await run.ask()
    await run.ask()
    await run.upstream.until(lambda: len(run.upstream.lookups) > asked_again)

    assert 1 + asked_again == len(run.upstream.lookups)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_a_key_may_still_spend_is_observed(run: Running, method: str) -> None:
    """`budget_remaining` and `budget_limit` show what the upstream last said of the key, by lane, on errors too."""
    rates = ("X-RateLimit-Limit: 1000", "x-ratelimit-remaining: 7", "X-RateLimit-Reset: 1800000060")
    run.upstream.reply = answer(429, b"{}", fields=rates)
    await run.ask(method, body=b"{}" if method == "POST" else None)
    lane = "read" if method == "GET" else "write"

    assert 7 == await run.metric("budget_remaining", key="main", lane=lane)
    assert 1000 == await run.metric("budget_limit", key="main", lane=lane)


@pytest.mark.parametrize("framing", ["Content-Length: 20", "Transfer-Encoding: chunked"])
async def test_an_error_answer_that_is_cut_short_is_a_502(run: Running, framing: str) -> None:
    """If the upstream breaks off before the caller got a byte, the caller gets a complete 502."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 500 X\r\n{framing}\r\n\r\n5\r\nhello\r\n".encode())
        writer.close()

    run.upstream.reply = reply
    response = await run.ask()

    assert (502, "upstream_broken") == (response.status, response.code)


async def test_an_upload_crosses_in_the_framing_it_came_in(run: Running) -> None:
    """A stated length is stated upstream, a chunked body stays chunked, and the bytes are the same."""
    body = bytes(range(256)) * 600
    await run.ask("POST", "/api/v2/threads", body=body)
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked"))
    for at in range(0, len(body), 50_000):
        piece = body[at : at + 50_000]
        await caller.send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
    await caller.send(b"0\r\nX-Trailer: dropped\r\n\r\n")
    await caller.response()

    stated, chunked = run.upstream.arrivals
    assert (body, body) == (stated.body, chunked.body)
    assert ([str(len(body))], []) == (stated.all("Content-Length"), stated.all("Transfer-Encoding"))
    assert ([], ["chunked"]) == (chunked.all("Content-Length"), chunked.all("Transfer-Encoding"))
    assert b"X-Trailer" not in run.upstream.received
    assert b"ext=1" not in run.upstream.received


async def test_an_answer_that_comes_during_an_upload_is_taken(run: Running) -> None:
    """An upstream that has seen enough is heard at once; the rest of the body is not sent, the connection ends."""
    run.upstream.before_body = lambda arrival, writer: writer.write(error(403, "forbidden"))
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Content-Length: 1000000") + b"x" * 100_000)
    response = await caller.response()

    assert (403, "forbidden") == (response.status, response.code)
    assert "close" == response.get("connection")
    await run.upstream.until(lambda: run.upstream.open == 0)
    assert [] == [arrival for arrival in run.upstream.arrivals if arrival.complete]


async def test_the_narrowest_key_that_will_do_is_the_one_that_goes(start: Start) -> None:
    """The key of the route with the fewest sufficient scopes serves; requests that it lacks use the next."""
    run = await start(
        keys={"main": {"secrets": ["env:MAIN_KEY"]}, "second": {"secrets": ["env:SECOND_KEY"]}},
        routes=[{"path": "/**", "keys": ["main", "second"]}],
    )
    await run.ask("GET", "/api/v2/threads")
    await run.ask("GET", "/api/v2/companies")

    assert [OTHER_KEY, KEY] == [arrival.bearer for arrival in run.upstream.arrivals]
