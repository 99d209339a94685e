"""A request whose key was refused is resent once with the next good secret, if its body can be repeated."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from tests.support.deadline import DEADLINE
from tests.support.in_process import Running
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer, error
from tests.support.sentinels import ALL_SCOPES, KEY, OTHER_KEY

SECRETS = {"keys": {"main": {"secrets": ["env:MAIN_KEY", "env:SECOND_KEY"]}}}
SMALL = 65_536


@pytest.fixture(autouse=True)
def both_carry_all(upstream: Upstream) -> None:
    upstream.scopes = {KEY: ALL_SCOPES, OTHER_KEY: ALL_SCOPES}


def revoke(upstream: Upstream, *keys: str, status: int = 401, code: str = "unauthenticated") -> None:
    """Have Productlane refuse these from now on, on every request and on `/me`."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(error(status, code) if arrival.bearer in keys else answer())

    upstream.reply = reply
    for key in keys:
        upstream.scopes.pop(key, None)


T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Wait until the found value is the expected one, and return it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if holds(found := await ask()):
                return found
            await asyncio.sleep(0.01)


@pytest.fixture
async def run(start: Callable[..., Any], upstream: Upstream) -> Running:
    """A gateway with a key of two secrets; the first was in use and is now revoked."""
    gateway: Running = await start(**SECRETS)
    assert 200 == (await gateway.ask()).status
    upstream.arrivals.clear()
    revoke(upstream, KEY)
    return gateway


def bearers(upstream: Upstream) -> list[str]:
    return [arrival.bearer for arrival in upstream.arrivals]


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (410, "unsupported_key_version")])
async def test_a_read_is_sent_again(status: int, code: str, run: Running, upstream: Upstream) -> None:
    """A caller does not notice that the first secret was refused: the answer is that to the second one."""
    revoke(upstream, KEY, status=status, code=code)
    got = await run.ask()

    assert (200, [KEY, OTHER_KEY]) == (got.status, bearers(upstream))
    assert 1 == await run.metric("upstream_retries_total", reason="key")
    assert 0 == await run.metric("auth_responses_total")


@pytest.mark.parametrize("size", [0, 1, SMALL])
async def test_a_small_write_is_sent_again_whole(size: int, run: Running, upstream: Upstream) -> None:
    """A write of up to 64 kB is repeated byte for byte: by a 401 Productlane says that it did nothing."""
    body = b"x" * size
    got = await run.ask("POST", "/api/v2/threads", body=body)

    assert (200, [KEY, OTHER_KEY]) == (got.status, bearers(upstream))
    assert [body, body] == [arrival.body for arrival in upstream.arrivals]


@pytest.mark.parametrize("field", [f"Content-Length: {SMALL + 1}", "Transfer-Encoding: chunked"])
async def test_a_streamed_write_is_not_sent_again(field: str, run: Running, upstream: Upstream) -> None:
    """A streamed body cannot be repeated: the refusal is the answer. Once `/me` has said so too, the other serves."""
    piece = b"x" * (SMALL + 1)
    framed = f"{len(piece):x}\r\n".encode() + piece + b"\r\n0\r\n\r\n" if "chunked" in field else piece
    got = await run.raw(head("POST", "/api/v2/threads", field) + framed)
    await until(lambda: run.metric("key_state", slot="1", state="rejected"), bool)
    after = await run.ask()

    assert (502, "upstream_key_rejected", 200) == (got.status, got.code, after.status)
    assert [KEY, OTHER_KEY] == bearers(upstream)
    assert 0 == await run.metric("upstream_retries_total", reason="key")


async def test_every_request_has_one_key(run: Running, upstream: Upstream) -> None:
    """Both attempts carry exactly one key each, and differ in nothing else."""
    await run.ask("PATCH", "/api/v2/threads/t_1", "X-Trace: 1", body=b"{}")
    first, second = upstream.arrivals
    fields = [[(n, v) for n, v in sent.fields if n != "Authorization"] for sent in (first, second)]

    assert [1, 1] == [len(sent.all("Authorization")) for sent in (first, second)]
    assert fields[0] == fields[1]
    assert first.line == second.line


async def test_it_is_sent_again_once_and_no_more(run: Running, upstream: Upstream) -> None:
    """If the upstream refuses the second secret as well, the caller gets that refusal."""
    revoke(upstream, KEY, OTHER_KEY)
    upstream.scopes[OTHER_KEY] = ALL_SCOPES
    got = await run.ask()

    assert (502, [KEY, OTHER_KEY]) == (got.status, bearers(upstream))


async def test_a_lone_secret_is_not_sent_again(start: Callable[..., Any], upstream: Upstream) -> None:
    """A key without another good secret passes the refusal on, and names the key."""
    run = await start()
    await run.ask()
    revoke(upstream, KEY)
    got = await run.ask()

    assert (502, [KEY, KEY]) == (got.status, bearers(upstream))
    assert "to key main, slot 1, not to the caller" in str(got.get("Proxy-Status"))


async def test_a_refused_key_answers_at_once(start: Callable[..., Any], upstream: Upstream) -> None:
    """Once every secret of a key is refused, requests are answered without a call to Productlane for each."""
    run = await start(**SECRETS)
    revoke(upstream, KEY, OTHER_KEY)
    got = [await run.ask() for _ in range(20)]

    assert {502} == {one.status for one in got}
    assert {"upstream_key_rejected"} == {one.code for one in got}
    assert ([], 2) == (bearers(upstream), len(upstream.lookups))


async def test_the_log_names_the_secret_that_answered(run: Running) -> None:
    """The log line of a resent request has key and slot of the final answer, and no code of the first."""
    await run.ask()
    line = (await run.lines(2))[-1]

    assert ("main", "2", 200, "") == (line["key"], line["slot"], line["status"], line["code"])


async def test_a_change_of_state_is_an_event(run: Running) -> None:
    """The log says that a secret was refused and that another took over, by preview and never by secret."""

    def both(text: str) -> bool:
        return '"state":"rejected"' in text and '"state":"active"' in text.partition("Ktwo")[2]

    await run.ask()
    text = await until(lambda: asyncio.to_thread(run.log_file.read_text), both)
    events = [event for line in text.splitlines() if (event := json.loads(line)).get("event") == "key_state"]
    logged = [(event["level"], event["slot"], event["preview"], event["previous"], event["state"]) for event in events]

    assert ("info", "1", "Kone", "unverified", "active") == logged[0]
    assert {("info", "2", "Ktwo", "standby", "active"), ("info", "2", "Ktwo", "unverified", "active")} & {*logged}
    assert ("warning", "1", "Kone", "active", "rejected") in logged[1:]
    assert KEY not in text
    assert OTHER_KEY not in text


async def test_metrics_tell_what_happened(run: Running) -> None:
    """Metrics show the state of each secret after one was refused and another took over."""
    await run.ask()
    await until(lambda: run.metric("key_state", slot="1", state="rejected"), bool)

    assert 1 == await run.metric("key_state", key="main", slot="2", state="active")
    assert 1 == await run.metric("key_info", key="main", slot="2", preview="Ktwo")
    assert 0 < await run.metric("key_last_used_timestamp_seconds", slot="1")
    assert 0 < await run.metric("key_last_used_timestamp_seconds", slot="2")


async def test_many_at_once_lose_nothing(run: Running, upstream: Upstream) -> None:
    """When a secret is revoked, every request in progress is answered, with a single `/me` request."""
    upstream.lookups.clear()
    got = await asyncio.gather(*(run.ask("POST", "/api/v2/threads", body=b"{}") for _ in range(40)))

    assert {200} == {one.status for one in got}
    assert 40 == bearers(upstream).count(OTHER_KEY)
    assert 1 == [lookup.bearer for lookup in upstream.lookups].count(OTHER_KEY)


async def test_a_refusal_by_mistake_costs_one_question(start: Callable[..., Any], upstream: Upstream) -> None:
    """Where Productlane refuses a request though it takes the key, the key serves on and `/me` is asked once."""
    run = await start()
    await run.ask()
    upstream.lookups.clear()
    upstream.reply = error(401, "unauthenticated")
    got = [(await run.ask()).status for _ in range(10)]

    assert ([502] * 10, 1) == (got, len(upstream.lookups))


@pytest.mark.parametrize(("status", "code"), [(401, "session_expired"), (410, "gone"), (410, "unauthenticated")])
async def test_a_code_that_is_not_about_the_key_is_the_answer(
    status: int, code: str, start: Callable[..., Any], upstream: Upstream
) -> None:
    """A write whose 401 or 410 is not about the key is sent once and starts no look-up."""
    run = await start(**SECRETS)
    await run.ask()
    upstream.arrivals.clear()
    upstream.lookups.clear()
    upstream.reply = error(status, code)
    got = [await run.ask("POST", "/api/v2/threads", body=b"{}") for _ in range(5)]

    assert [code] * 5 == [one.code for one in got]
    assert ([KEY] * 5, []) == (bearers(upstream), upstream.lookups)
