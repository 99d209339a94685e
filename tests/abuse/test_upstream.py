"""What Productlane, or what stands in front of it, can do to a real `serve`; and what one caller can make it do."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import ATTACKER, HONEST, TWO, asks, attacked, counted, opened
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer, error
from tests.support.sentinels import KEY, OTHER_KEY, SECRETS
from tests.support.served import Served, serving

POST: Final = head("POST", "/api/v2/threads", "Content-Length: 2", token=ATTACKER) + b"{}"


def told(left: int, seconds: int) -> bytes:
    """An answer that says how many requests are left of a minute that ends in so many seconds."""
    reset = int(time.time()) + seconds
    return answer(fields=("X-RateLimit-Limit: 300", f"X-RateLimit-Remaining: {left}", f"X-RateLimit-Reset: {reset}"))


async def all_taken(served: Served, upstream: Upstream, left: int) -> asyncio.Event:
    """All that is left of the minute is in flight, until the event is set: then those answers tell of a new minute."""
    go_on = asyncio.Event()

    async def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(3 * DEADLINE):
            await go_on.wait()
        writer.write(told(200, 120))

    upstream.reply = told(left, 60)
    await asks(served, 1)
    upstream.reply = reply
    for _ in range(left):
        await opened(served, head())
    await upstream.until(lambda: len(upstream.arrivals) == left + 1)
    return go_on


async def revoked(folder: Path, served: Served) -> None:
    """The attacker's token is no longer one."""
    (folder / "policies" / "1.yaml").write_text(yaml.safe_dump(policy("attacker", "plgw_another-token-0123456789")))
    await served.until_said(b'"event":"policy_change"')


async def test_a_body_that_comes_after_a_revocation_goes_nowhere(
    tmp_path: Path, served: Served, upstream: Upstream
) -> None:
    """A write that was allowed and whose caller is then revoked is refused, and never reaches Productlane whole."""
    assert {200} == await asks(served, 1, method="POST", body=b"{}")  # So that nobody waits for budget.
    fields = ("Content-Length: 2", "Expect: 100-continue")
    small = await opened(served, head("POST", "/api/v2/threads", *fields, token=ATTACKER))
    assert 100 == (await small.response()).status
    large = await opened(
        served, head("POST", "/api/v2/threads", "Transfer-Encoding: chunked", token=ATTACKER) + b"1\r\nx\r\n"
    )
    await upstream.until(lambda: b"\r\n1\r\nx\r\n" in upstream.received)
    await revoked(tmp_path, served)
    small.writer.write(b"{}")
    large.writer.write(b"1\r\nx\r\n0\r\n\r\n")

    assert 401 == (await small.response()).status
    assert 401 == (await large.response()).status
    assert 1 == sum(arrival.complete for arrival in upstream.arrivals)
    assert {200} == await asks(served, 5)


async def test_a_wait_for_budget_does_not_outlast_a_revocation(tmp_path: Path, upstream: Upstream) -> None:
    """A request that waits for rate budget while its caller is revoked is refused when its turn comes."""
    async with serving(tmp_path, upstream, pacing={"max_wait": "20s"}, **TWO) as served:
        go_on = await all_taken(served, upstream, 1)
        waiting = await opened(served, head(token=ATTACKER))
        await eventually(lambda: counted(served, 'pacing_queue_length{key="main",lane="read"} 1'))
        await revoked(tmp_path, served)
        go_on.set()

        assert 401 == (await waiting.response()).status
        assert {200} == await asks(served, 5)


async def test_an_answer_that_has_begun_outlives_a_revocation(
    tmp_path: Path, served: Served, upstream: Upstream
) -> None:
    """An answer that is under way when its caller is revoked arrives whole; the caller's next request is refused."""
    go_on = asyncio.Event()

    async def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        async with asyncio.timeout(DEADLINE):
            await go_on.wait()
        writer.write(b"half")

    upstream.reply = reply
    caller = await opened(served, head(token=ATTACKER))
    await upstream.until(lambda: bool(upstream.arrivals))
    await revoked(tmp_path, served)
    go_on.set()
    answered = await caller.response()
    await caller.send(head(token=ATTACKER))

    assert (200, b"halfhalf", 401) == (answered.status, answered.body, (await caller.response()).status)


async def test_an_echo_of_a_key_reaches_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """Neither a value, nor a field's name, nor a body, nor JSON escapes in `/me` give a key of the gateway to a caller,
    be it that of the request or another.
    """
    escaped = ["".join(f"\\u{ord(letter):04x}" for letter in key) for key in (KEY, OTHER_KEY)]
    me = '{"workspace_id": "%s", "api_key_id": "%s", "scopes": ["threads:read"], "linear_team_ids": []}'
    upstream.me = answer(body=(me % tuple(escaped)).encode())
    fields = (f"X-Request-Id: {KEY}", f"ETag: {OTHER_KEY}", f"x-ratelimit-{KEY.lower()}: 1", "Content-Type: text/plain")
    upstream.reply = answer(body=f"{KEY} {OTHER_KEY}".encode(), fields=fields)
    both = {"main": {"secrets": ["env:MAIN_KEY", "env:SECOND_KEY"]}}
    async with serving(tmp_path, upstream, environ=SECRETS, keys=both, **TWO) as served:
        echoed = await attacked(served, head("GET", "/api/v2/threads", "Range: bytes=0-5", token=ATTACKER))
        identity = await attacked(served, head("GET", "/api/v2/me", token=ATTACKER))
        shown = [await served.ask_admin(path) for path in ("/metrics", "/status", "/status.json")]

    assert 200 == echoed.status
    assert not upstream.arrivals[0].all("Range")
    for one in (echoed, identity, *shown):
        text = (one.head + one.body).decode().lower()
        assert not [key for key in (KEY, OTHER_KEY, *escaped) if key.lower() in text]


async def test_a_refused_scope_asks_who_the_key_is_once(served: Served, upstream: Upstream) -> None:
    """Requests that Productlane refuses for a scope have `/me` asked once in five seconds; others wait for none."""
    assert {200} == await asks(served, 5)

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(error(403, "scope_required", required="threads:odd") if b"odd" in arrival.target else answer())

    upstream.reply = reply
    before = len(upstream.lookups)
    for number in range(40):
        assert 403 == (await attacked(served, head("GET", f"/api/v2/threads?odd={number}", token=ATTACKER))).status
        assert {200} == await asks(served, 1)

    assert len(upstream.lookups) - before <= 2


@pytest.mark.parametrize(("status", "code"), [(410, "gone"), (401, "two_factor_required")])
async def test_a_code_that_is_not_about_the_key_has_nothing_resent(
    served: Served, upstream: Upstream, status: int, code: str
) -> None:
    """A write that Productlane refuses for another reason leaves once, and the key stays good for others."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(error(status, code) if arrival.method == "POST" else answer())

    upstream.reply = reply
    refused = await attacked(served, POST)
    honest = await asks(served, 10)

    assert (status, {200}) == (refused.status, honest)
    assert 1 == len([one for one in upstream.arrivals if one.method == "POST"])
    assert await counted(served, 'key_state{key="main",slot="1",state="active"} 1')


async def test_one_endpoints_retry_after_stops_nobody_for_a_day(served: Served, upstream: Upstream) -> None:
    """A 429 of one endpoint, with a `Retry-After` of a day and budget left, holds others up for a minute at most."""
    fields = ("Retry-After: 86400", "X-RateLimit-Limit: 300", "X-RateLimit-Remaining: 250")

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(429, fields=fields) if b"odd" in arrival.target else answer())

    upstream.reply = reply
    assert 429 == (await attacked(served, head("GET", "/api/v2/threads?odd", token=ATTACKER))).status
    honest = await served.ask()

    assert 200 == honest.status or int(honest.get("Retry-After") or 0) <= 60


async def test_fields_that_steer_a_proxy_stay_behind(served: Served, upstream: Upstream) -> None:
    """`X-Accel-*`, `X-Sendfile`, CORS fields and `Proxy-Status` of the upstream reach no caller."""
    steering = ("X-Accel-Redirect: /etc", "X-Sendfile: /etc", "Access-Control-Allow-Origin: *", "Proxy-Status: evil")
    upstream.reply = answer(fields=(*steering, "Content-Type: application/json"))
    crossed = await attacked(served, head("GET", "/api/v2/threads", token=ATTACKER))

    assert 200 == crossed.status
    assert [] == [
        name for name in ("x-accel-redirect", "x-sendfile", "access-control-allow-origin") if crossed.get(name)
    ]
    assert "evil" not in str(crossed.get("proxy-status"))


async def test_an_id_that_is_a_literal_with_a_suffix_is_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """Where `/contacts/by-email` is denied, `/contacts/by-email.json` is not taken for `/contacts/{id}`."""
    denied = policy("attacker", ATTACKER) | {"deny": ["GET /contacts/by-email"]}
    async with serving(tmp_path, upstream, policies=[policy("honest", HONEST), denied]) as served:
        for target in ("by-email", "by-email.json", "by-email;x", "by-email."):
            refused = await attacked(served, head("GET", f"/api/v2/contacts/{target}", token=ATTACKER))
            assert refused.status in (400, 403, 404)
        assert {200} == await asks(served, 5)

    assert not any(b"contacts" in arrival.target for arrival in upstream.arrivals)


async def test_an_answer_that_is_cut_is_counted_and_warned_of(served: Served, upstream: Upstream) -> None:
    """An answer that breaks off after its 200 head is in `upstream_failures_total`, and its line is a warning."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(answer()[:-5] if b"cut" in arrival.target else answer())
        if b"cut" in arrival.target:
            writer.close()

    upstream.reply = reply
    caller = await opened(served, head("GET", "/api/v2/threads?cut", token=ATTACKER))
    assert not (await caller.closed()).endswith(b'{"ok":true}')
    assert {200} == await asks(served, 5)
    await served.until_said(b'"caller":"attacker"')
    lines = [line for line in served.lines() if line.get("caller") == "attacker" and "status" in line]

    assert await counted(served, 'upstream_failures_total{error="connection_terminated"} 1')
    assert ["warning"] == [line["level"] for line in lines]


async def test_writes_do_not_leave_on_connections_that_have_ended(served: Served, upstream: Upstream) -> None:
    """Where the end of a connection comes with its answer, the write behind it leaves on another: none is lost or
    doubled.
    """

    def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        # One segment, so that the end is there when the answer is read.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        writer.write(answer())
        writer.close()

    upstream.reply = reply
    caller = await opened(served, POST * 20)
    statuses = [(await caller.response()).status for _ in range(20)]

    assert [200] * 20 == statuses
    assert 20 == len(upstream.arrivals)


async def test_one_caller_cannot_fill_the_queue_for_others(tmp_path: Path, upstream: Upstream) -> None:
    """Where a spent budget has requests wait, those of one caller beyond the queue are refused, and another's takes the
    place of its newest.
    """
    async with serving(tmp_path, upstream, pacing={"max_wait": "20s", "max_queue": 8}, **TWO) as served:
        go_on = await all_taken(served, upstream, 20)
        greedy = [await opened(served, head(token=ATTACKER)) for _ in range(30)]
        await eventually(lambda: counted(served, 'limits_reached_total{limit="queue"} 22'))
        honest = asyncio.create_task(asks(served, 1))
        await eventually(lambda: counted(served, 'limits_reached_total{limit="queue"} 23'))
        go_on.set()

        assert {200} == await honest
        statuses = [(await one.response()).status for one in greedy]
    assert (7, 23) == (statuses.count(200), statuses.count(503))


async def test_descriptors_are_raised_to_what_the_settings_need(tmp_path: Path, upstream: Upstream) -> None:
    """A process that starts with few descriptors raises its soft limit, so that connections leave it some."""
    async with serving(tmp_path, upstream, limits={"connections": 1_000}, ulimits=("-Sn 256",)) as served:
        text = Path(f"/proc/{served.process.pid}/limits").read_text()  # noqa: ASYNC240 - at once
        (line,) = [line for line in text.splitlines() if line.startswith("Max open files")]
        assert int(line.split()[3]) >= 1_000
        for _ in range(400):
            await opened(served, b"")

        assert {200} == await asks(served, 5)
