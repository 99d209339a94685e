"""What Productlane, or what stands in front of it, can do to a real `serve`; and what one caller can make it do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import ATTACKER, HONEST, asks, opened
from tests.support.in_process import policy
from tests.support.raw_caller import Response, head
from tests.support.recording import Arrival, Upstream, answer, error
from tests.support.sentinels import KEY
from tests.support.served import Served, serving, under

TWO: Final[dict[str, Any]] = {"policies": [policy("honest", HONEST), policy("attacker", ATTACKER)]}
POST: Final = head("POST", "/api/v2/threads", "Content-Length: 2", token=ATTACKER) + b"{}"


@pytest.fixture
async def served(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Served]:
    async with serving(tmp_path, upstream, **TWO) as served:
        yield served


async def attacked(served: Served, data: bytes) -> Response:
    """The answer to the attacker."""
    caller = await opened(served, data)
    try:
        return await caller.response()
    finally:
        await caller.close()


async def counted(served: Served, sample: str) -> bool:
    return sample.encode() in (await served.ask_admin("/metrics")).body


async def test_a_body_that_comes_after_a_revocation_goes_nowhere(
    tmp_path: Path, served: Served, upstream: Upstream
) -> None:
    """A write whose head was allowed and whose caller is then revoked is refused, and never reaches Productlane."""
    small = await opened(served, POST[:-2])
    large = await opened(
        served, head("POST", "/api/v2/threads", "Transfer-Encoding: chunked", token=ATTACKER) + b"1\r\nx\r\n"
    )
    await upstream.until(lambda: bool(upstream.open))
    (tmp_path / "policies" / "1.yaml").write_text(yaml.safe_dump(policy("attacker", "plgw_another-token-0123456789")))
    await served.until_said(b'"event":"policy_change"')
    small.writer.write(b"{}")
    large.writer.write(b"1\r\nx\r\n0\r\n\r\n")

    assert 401 == (await small.response()).status
    assert 401 == (await large.response()).status
    assert not any(arrival.complete for arrival in upstream.arrivals)
    assert {200} == await asks(served, 5)
    await small.close()
    await large.close()


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
    (tmp_path / "policies" / "1.yaml").write_text(yaml.safe_dump(policy("attacker", "plgw_another-token-0123456789")))
    await served.until_said(b'"event":"policy_change"')
    go_on.set()
    answered = await caller.response()
    await caller.send(head(token=ATTACKER))

    assert (200, b"halfhalf", 401) == (answered.status, answered.body, (await caller.response()).status)
    await caller.close()


async def test_an_echo_of_the_key_reaches_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """Neither a value, nor a field's name, nor a body, nor JSON escapes in `/me` give the key to a caller."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    me = json.dumps({"workspace_id": "@", "api_key_id": "@", "scopes": ["threads:read"], "linear_team_ids": []})
    upstream.me = answer(body=me.replace("@", escaped).encode())
    upstream.reply = answer(body=KEY.encode(), fields=(f"X-Request-Id: {KEY}", f"{KEY}: 1", "Content-Type: text/plain"))
    async with serving(tmp_path, upstream, **TWO) as served:
        echoed = await attacked(served, head("GET", "/api/v2/threads", "Range: bytes=0-5", token=ATTACKER))
        identity = await attacked(served, head("GET", "/api/v2/me", token=ATTACKER))
        shown = [await served.ask_admin(path) for path in ("/metrics", "/status", "/status.json")]

    assert 200 == echoed.status
    assert not upstream.arrivals[0].all("Range")
    for one in (echoed, identity, *shown):
        text = one.head + one.body
        assert KEY.encode() not in text
        assert escaped.encode() not in text


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
    await caller.close()
    honest = await asks(served, 5)
    await eventually(lambda: counted(served, 'upstream_failures_total{error="connection_terminated"} 1'))
    lines = [line for line in served.lines() if line.get("caller") == "attacker" and "status" in line]

    assert {200} == honest
    assert ["warning"] == [line["level"] for line in lines]


async def test_writes_do_not_leave_on_connections_that_have_ended(served: Served, upstream: Upstream) -> None:
    """Where the upstream closes each connection behind its answer, of 100 writes in a row none is lost or doubled."""

    def reply(_: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        writer.close()

    upstream.reply = reply
    statuses = [(await attacked(served, POST)).status for _ in range(40)]

    assert [200] * 40 == statuses
    assert 40 == len(upstream.arrivals)


async def test_one_caller_cannot_fill_the_queue_for_others(tmp_path: Path, upstream: Upstream) -> None:
    """Where a spent budget has requests wait, those of one caller beyond the queue are refused; another's is served."""
    fields = ("X-RateLimit-Limit: 300", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {int(time.time()) + 5}")
    upstream.reply = answer(fields=fields)
    async with serving(tmp_path, upstream, pacing={"max_wait": "9s", "max_queue": 8}, **TWO) as served:
        assert 200 == (await served.ask()).status
        upstream.reply = answer()
        greedy = [await opened(served, head(token=ATTACKER)) for _ in range(30)]
        first = [asyncio.ensure_future(one.response()) for one in greedy]
        await eventually(lambda: counted(served, 'limits_reached_total{limit="queue"} 22'))
        honest = await asks(served, 1)
        async with asyncio.timeout(DEADLINE):
            statuses = [answered.status for answered in await asyncio.gather(*first)]
        for one in greedy:
            await one.close()

    assert {200} == honest
    assert 22 <= statuses.count(503) <= 23


async def test_descriptors_are_raised_to_what_the_settings_need(tmp_path: Path, upstream: Upstream) -> None:
    """A process that starts with few descriptors raises its soft limit, so that connections leave it some."""
    few = under("RLIMIT_NOFILE", "256")
    async with serving(tmp_path, upstream, limits={"connections": 1_000}, program=few) as served:
        limits = Path(f"/proc/{served.process.pid}/limits")
        text = limits.read_text()  # noqa: ASYNC240 - at once
        held = [await opened(served, b"") for _ in range(400)]
        honest = await asks(served, 5)
        for one in held:
            await one.close()

    (line,) = [line for line in text.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) >= 1_000
    assert {200} == honest
