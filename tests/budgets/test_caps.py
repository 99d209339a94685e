"""`gateway.budgets.caps`: a caller's own limits, counted here or over all replicas."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis as Client

from gateway.budgets.caps import Caps
from gateway.config.load import ConfigSource
from gateway.config.store import Redis, Store
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.runtime.gateway import running as serving
from gateway.runtime.parts import Parts
from gateway.telemetry.event import Event
from gateway.telemetry.log import Log
from tests.support.clock import Clock
from tests.support.deadline import DEADLINE
from tests.support.in_process import policy, running
from tests.support.recording import Upstream
from tests.support.redis_server import NEEDS_REDIS, RedisServer, redis_serving
from tests.support.sentinels import KEY

Start = Callable[..., Any]
APP = Policy("app", reads=3, writes=2)


@contextlib.asynccontextmanager
async def counting(store: Store = None, **settings: Any) -> AsyncIterator[Caps]:
    caps = Caps(store, **settings)
    caps.prepare()
    try:
        yield caps
    finally:
        await caps.close()


async def allowed(caps: Caps, policy: Policy, lane: Lane, tries: int) -> int:
    """How many of these requests are allowed."""
    count = 0
    for _ in range(tries):
        with contextlib.suppress(Refused):
            await caps.spend(policy, lane)
            count += 1
    return count


async def test_a_cap_is_over_any_minute() -> None:
    """No window of sixty seconds exceeds the cap, wherever it begins, and room comes back request by request.

    They are counted by the monotonic clock: one that is set back would lock a caller out for as long.
    """
    clock = Clock()
    async with counting(clock=clock) as caps:
        granted = []
        for now in (0.0, 50.0, 55.0, 59.9, 60.1, 60.2, 110.1):
            clock.now = 1_800_000_000.0 + now
            granted.append(await allowed(caps, APP, Lane.READ, 1))

    assert [1, 1, 1, 0, 1, 0, 1] == granted


async def test_a_refusal_says_exactly_when_to_come_back() -> None:
    """Retry-After is the whole second from which on there is room, and the note names the limit of the policy."""
    clock = Clock()
    async with counting(clock=clock) as caps:
        await allowed(caps, APP, Lane.WRITE, 2)
        clock.now += 12.3
        with pytest.raises(Refused) as caught:
            await caps.spend(APP, Lane.WRITE)
        clock.now += 48
        back = await allowed(caps, APP, Lane.WRITE, 1)

    refused = caught.value
    assert (Code.RATE_LIMITED, Reason.LIMIT) == (refused.code, refused.reason)
    assert {
        "Retry-After": "48",
        "RateLimit-Policy": '"limits";q=2;w=60;pk=:YXBw:',
        "RateLimit": '"limits";r=0;t=48;pk=:YXBw:',
    } == dict(refused.headers)
    assert {
        "limit": 2,
        "window": "1m",
        "budget": "limits.writes_per_minute",
        "caller": "app",
        "retry_after": 48,
    } == refused.details
    assert "policy app: `limits.writes_per_minute: 2`" in refused.note
    assert 1 == back


async def test_lanes_and_callers_are_counted_apart() -> None:
    """Writes do not use up reads, uploads are writes, and one caller's requests are not another's."""
    async with counting(clock=Clock()) as caps:
        reads = await allowed(caps, APP, Lane.READ, 5)
        uploads = await allowed(caps, APP, Lane.UPLOAD, 1)
        writes = await allowed(caps, APP, Lane.WRITE, 5)
        others = await allowed(caps, Policy("other", reads=1), Lane.READ, 5)
        free = await allowed(caps, Policy("free"), Lane.READ, 50)

    assert (3, 1, 1, 1, 50) == (reads, uploads, writes, others, free)


async def test_callers_that_are_silent_are_forgotten() -> None:
    """Only callers that sent a request in the last minute use memory."""
    clock = Clock()
    async with counting(clock=clock) as caps:
        for number in range(3000):
            await caps.spend(Policy(f"c{number}", reads=1), Lane.READ)
        clock.now += 61
        for number in range(3000, 6000):
            await caps.spend(Policy(f"c{number}", reads=1), Lane.READ)
        remembered = len(caps._here)

    assert remembered <= 3000


async def test_a_caller_past_its_cap_is_told(start: Start) -> None:
    """Through a whole gateway: Productlane's envelope, Retry-After, a denial in the log, and no call upstream."""
    run = await start(policies=[policy(limits={"reads_per_minute": 2})])
    served = [(await run.ask()).status for _ in range(2)]
    refused, written = await run.ask(), await run.ask("POST", "/api/v2/threads", body=b"{}")
    line = (await run.lines(3))[2]

    assert [200, 200] == served
    assert (429, "rate_limited", 200) == (refused.status, refused.code, written.status)
    assert 59 <= int(refused.get("retry-after")) <= 60
    assert ("deny", "limit", "app") == (line["decision"], line["reason"], line["caller"])
    assert 3 == len(run.upstream.arrivals)


async def test_every_answer_reports_the_callers_limits_and_its_share(start: Start) -> None:
    """Relayed answers, a cached `/me` and refusals have a policy of the key's budget and one of the caller's limits."""
    run = await start(policies=[policy(limits={"reads_per_minute": 3})])
    answers = [await run.ask(), await run.ask("GET", "/api/v2/me"), await run.ask(), await run.ask()]
    written = await run.ask("POST", "/api/v2/threads", body=b"{}")
    quotas = [[value for name, value in one.fields if name == "ratelimit-policy"] for one in answers]
    left = [[value.split(";")[1] for name, value in one.fields if name == "ratelimit"] for one in answers]

    assert [200, 200, 200, 429] == [one.status for one in answers]
    assert all({'"read";q=1000;w=60;pk=:YXBw:', '"limits";q=3;w=60;pk=:YXBw:'} == set(policies) for policies in quotas)
    assert [2, 1, 0, 0] == [int(next(r for r in rs if len(r) == 3)[2:]) for rs in left]
    assert ['"write";q=60;w=60;pk=:YXBw:'] == [v for name, v in written.fields if name == "ratelimit-policy"]


async def test_a_refusal_after_a_key_was_chosen_reports_the_share(start: Start) -> None:
    """A body that is too large gets 413 with the share; what is refused before a key is chosen has no budget."""
    run = await start(limits={"body": {"write": 10}})
    large = await run.ask("POST", "/api/v2/threads", body=b"x" * 11)
    unknown = await run.ask("GET", "/api/v2/nothing")

    assert (413, '"write";q=60;w=60;pk=:YXBw:') == (large.status, large.get("ratelimit-policy"))
    assert unknown.get("ratelimit-policy") is None


async def test_me_counts_as_a_read(start: Start) -> None:
    """`GET /me` is answered from memory and still counts as a request of the caller."""
    run = await start(policies=[policy(limits={"reads_per_minute": 1})])

    assert [200, 429] == [(await run.ask("GET", "/api/v2/me")).status for _ in range(2)]


# Shared over replicas, in a real Redis.


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis on a free port of loopback."""
    async with redis_serving(tmp_path) as server:
        yield server


@pytest.mark.slow
@NEEDS_REDIS
async def test_replicas_count_together(server: RedisServer, tmp_path: Path, upstream: Upstream) -> None:
    """Two gateways with one Redis together allow what the policy grants, and say exactly when more is available."""
    redis = server.at
    async with two_gateways(redis, tmp_path, upstream) as ask:
        answers = [await ask(number) for number in (0, 1, 0, 1, 1, 0)]

    assert [200, 200, 200, 200, 429, 429] == [status for status, _ in answers]
    assert all(58 <= int(retry) <= 60 for status, retry in answers if status == 429)


@contextlib.asynccontextmanager
async def two_gateways(redis: Redis, folder: Path, upstream: Upstream) -> AsyncIterator[Callable[[int], Any]]:
    """Two gateways of one configuration, in which the caller may read four times a minute."""
    async with running(folder / "files", upstream, policies=[policy(limits={"reads_per_minute": 4})]) as run:
        origin = ConfigSource(folder / "files" / "gateway.yaml", {"MAIN_KEY": KEY})
        fd = os.open(folder / "log", os.O_CREAT | os.O_WRONLY)
        log = Log(fd)
        own = run.gateway

        def make() -> Parts:
            return Parts(ConfigSource(None, {}), replace(origin.load(), store=redis), {}, config="files", log=log)

        async with contextlib.AsyncExitStack() as stack:
            stack.callback(os.close, fd)
            stack.callback(log.close)
            gateways = [await stack.enter_async_context(serving(make)) for _ in range(2)]

            async def ask(number: int) -> tuple[int, str | None]:
                run.gateway = gateways[number]
                response = await run.ask()
                return response.status, response.get("retry-after")

            yield ask
            run.gateway = own


@pytest.mark.slow
@NEEDS_REDIS
async def test_a_redis_that_is_gone_costs_no_request(server: RedisServer) -> None:
    """Without its Redis a replica continues with its own count, which includes the requests that it already allowed."""
    redis = server.at
    faults: list[Event] = []
    async with counting(redis, emit=faults.append) as caps:
        before = await allowed(caps, APP, Lane.READ, 2)
        await server.kill()
        after = await allowed(caps, APP, Lane.READ, 3)

    assert (2, 1) == (before, after)
    assert 1 == len(faults)


@pytest.mark.slow
@NEEDS_REDIS
async def test_a_redis_that_hangs_costs_its_patience_once(server: RedisServer) -> None:
    """A Redis that accepts and says nothing is waited for once, then left alone for a while, and then asked again."""
    redis = server.at
    clock, faults, loop = Clock(), list[Event](), asyncio.get_running_loop()
    async with counting(redis, clock=clock, emit=faults.append) as caps:
        await caps.spend(APP, Lane.READ)
        server.signal(signal.SIGSTOP)
        async with asyncio.timeout(DEADLINE):
            began = loop.time()
            hung = await allowed(caps, APP, Lane.READ, 5)
            took = loop.time() - began
        server.signal(signal.SIGCONT)
        while_resting = await allowed(caps, APP, Lane.WRITE, 1)
        clock.now += 5
        again = await allowed(caps, APP, Lane.WRITE, 5)

    assert (2, 1, 1) == (hung, len(faults), while_resting)
    # Redis does not know of the write that was allowed meanwhile.
    assert 2 == again
    assert took < DEADLINE / 2


async def test_no_redis_from_the_start_costs_no_request() -> None:
    """A gateway whose Redis is not up yet serves with its own count."""
    async with counting(Redis("127.0.0.1", 9)) as caps:
        assert 3 == await allowed(caps, APP, Lane.READ, 5)


@pytest.mark.slow
@NEEDS_REDIS
@pytest.mark.parametrize("poison", ["inf", "1e308", "9999999999999", "nan", "-inf", "soon", ""])
async def test_a_poisoned_count_locks_nobody_out(server: RedisServer, poison: str) -> None:
    """What cannot be true, such as requests in the future, is a fault of the store: this process counts instead."""
    redis = server.at
    async with Client(host=redis.host, port=redis.port) as client:
        for _ in range(3):
            await client.rpush("productlane-gateway:limits:app:read", poison)
        async with counting(redis) as caps:
            assert 3 == await allowed(caps, APP, Lane.READ, 5)


@pytest.mark.slow
@NEEDS_REDIS
async def test_a_count_of_another_kind_is_a_fault(server: RedisServer) -> None:
    """A value that somebody else put under the name costs no request, and is reported once."""
    redis = server.at
    faults: list[Event] = []
    async with Client(host=redis.host, port=redis.port) as client:
        await client.set("productlane-gateway:limits:app:read", "x")
        async with counting(redis, emit=faults.append) as caps:
            assert 3 == await allowed(caps, APP, Lane.READ, 5)

    assert 1 == len(faults)
