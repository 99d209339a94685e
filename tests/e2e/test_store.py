"""Gateways that keep answers of `/me` in a file or a Redis: shared, through every fault, and with nothing secret."""

import asyncio
import pickle
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.deadline import DEADLINE, eventually
from tests.support.in_process import Running, policy, running
from tests.support.recording import Upstream, answer
from tests.support.redis_server import NEEDS_REDIS, PASSWORD, RedisServer, documented_acl, redis_serving
from tests.support.sentinels import KEY, OTHER_KEY, TOKEN

TWO_KEYS: dict[str, Any] = {
    "keys": {"main": {"secrets": ["env:MAIN_KEY"]}, "second": {"secrets": ["env:SECOND_KEY"]}},
    "routes": [{"path": "/**", "keys": ["main"]}, {"path": "/threads/**", "keys": ["second"]}],
}


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    rules = "~productlane-gateway:* +get +set +del"
    async with redis_serving(tmp_path, acl=rules) as server:
        yield server


# Asked often enough that an answer is kept soon after a store that was slow once has had its rest of 10 s.
OFTEN: Final = {"prefetch": True, "ttl": "1s"}
RESTED: Final = 3 * DEADLINE


def settings_for(redis: RedisServer, **more: Any) -> dict[str, Any]:
    return {
        "store": f"redis://gateway@127.0.0.1:{redis.at.port}",
        "redis": {"password": "env:REDIS_PASSWORD"},
        "environ": {"REDIS_PASSWORD": PASSWORD},
        **more,
    }


@asynccontextmanager
async def replicas(folder: Path, upstream: Upstream, count: int, **settings: Any) -> AsyncIterator[list[Running]]:
    async with AsyncExitStack() as stack:
        folders = [folder / f"replica-{number}" for number in range(count)]
        yield await asyncio.gather(*(stack.enter_async_context(running(own, upstream, **settings)) for own in folders))


async def said(upstream: Upstream) -> None:
    await upstream.until(lambda: bool(upstream.lookups))


@NEEDS_REDIS
async def test_four_replicas_ask_once_for_each_secret_and_ttl(
    tmp_path: Path, upstream: Upstream, redis: RedisServer
) -> None:
    """With Redis, one of four replicas asks `/me`, and again one of them when the answer has had its time."""

    async def slowly(arrival: Any, _: Any) -> None:
        if arrival.target == b"/api/v2/me":
            await asyncio.sleep(0.2)  # as far away as Productlane is

    upstream.before_body = slowly
    settings = settings_for(redis, identity={"prefetch": True, "ttl": "3s"}, **TWO_KEYS)
    async with replicas(tmp_path, upstream, 4, **settings) as runs:
        first = [(await run.ask()).status for run in runs]
        asked = sorted(arrival.bearer for arrival in upstream.lookups)
        await asyncio.sleep(3.1)
        again = [response.status for response in await asyncio.gather(*(run.ask() for run in runs for _ in range(5)))]
        asked_again = sorted(arrival.bearer for arrival in upstream.lookups)

    assert ([200] * 4, [200] * 20) == (first, again)
    assert [KEY, OTHER_KEY] == asked
    assert [KEY, OTHER_KEY, OTHER_KEY] == asked_again


async def outage(run: Running) -> dict[str, Any]:
    (event,) = await run.events("identity_stale")
    return event


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=NEEDS_REDIS)])
async def test_a_start_in_an_outage_enforces_what_was_known(tmp_path: Path, upstream: Upstream, kind: str) -> None:
    """A gateway that starts while Productlane is down knows the scopes of its keys from the store, and says so."""
    moment = 1_800_000_000.0
    upstream.scopes[KEY] = ("threads:read",)
    async with AsyncExitStack() as stack:
        settings: dict[str, Any] = {"store": f"sqlite:{tmp_path}/identity.db"}
        if kind == "redis":
            settings = settings_for(await stack.enter_async_context(redis_serving(tmp_path, acl="~* +@all")))
        settings |= {"identity": {"prefetch": True}, "policies": [policy()]}
        async with running(tmp_path / "before", upstream, clock=lambda: moment, **settings) as run:
            await said(upstream)
            await run.ask()
        await upstream.stop()
        async with running(tmp_path / "after", upstream, clock=lambda: moment + 600, **settings) as run:
            event = await outage(run)
            refused = await run.ask("GET", "/api/v2/companies")
            unreachable = await run.ask("GET", "/api/v2/threads")
            status = (await run.admin("/status.json")).json
            page = (await run.admin("/status")).body.decode()
            looked_up = await run.metric("identity_lookups_total", key="main", result="stale")

    (slot,) = status["keys"][0]["slots"]
    assert (403, "scope_required", 502) == (refused.status, refused.code, unreachable.status)
    assert ("main", "1", "the connection was refused") == (event["key"], event["slot"], event["reason"])
    assert 600 <= event["seconds"] < 630
    assert ("active", "the connection was refused", ["threads:read"]) == (
        slot["state"],
        slot["identity_fault"],
        slot["scopes"],
    )
    assert 600 <= slot["identity_age"] < 630
    assert "the gateway cannot ask /me (the connection was refused); still using the answer from 60" in page
    assert looked_up >= 1


async def test_an_outage_without_a_store_is_told_as_well(tmp_path: Path, upstream: Upstream) -> None:
    """If a key's identity is unknown, the log says so, and again when that ends."""
    upstream.me = answer(503)
    async with running(tmp_path, upstream, identity={"prefetch": True}) as run:
        (unknown,) = await run.events("identity_unknown")
        upstream.me = None
        (back,) = await run.events("identity_back")
        served = await run.ask()

    assert ("main", "status 503") == (unknown["key"], unknown["reason"])
    assert ("main", 200) == (back["key"], served.status)


@NEEDS_REDIS
async def test_no_fault_of_redis_fails_a_request(tmp_path: Path, upstream: Upstream, redis: RedisServer) -> None:
    """Killed, stopped, full, filled with lists, garbage and pickles: every request is served, and it comes back."""
    ran = tmp_path / "ran"
    # A ttl of 20 ms has nearly every request ask the store.
    async with running(tmp_path / "gw", upstream, **settings_for(redis, identity={"ttl": "20ms"})) as run:

        async def served(count: int = 10) -> None:
            for _ in range(count):
                statuses.append((await run.ask()).status)
                await asyncio.sleep(0.02)

        async def poison(value: bytes | None) -> None:
            for key in await redis.everything():
                await redis.admin.delete(key)
                await (redis.admin.lpush(key, "x") if value is None else redis.admin.set(key, value))

        statuses = list[int]()
        await served()
        healthy = await run.metric("store_up", kind="redis", use="read")
        for value in (b"garbage", pickle.dumps(_Evil(ran)), None):
            await poison(value)
            await served()
        await redis.admin.config_set("maxmemory", "1")
        await served()
        full = (await run.admin("/status.json")).json["store"]["faults"]
        await redis.admin.config_set("maxmemory", "0")
        redis.signal(signal.SIGSTOP)
        await served()
        redis.signal(signal.SIGCONT)
        await redis.kill()
        await served()
        down = await run.metric("store_up", kind="redis", use="read")
        faults = {event["reason"] for event in await run.events("store_fault", 2)}
        await redis.start()

        async def back() -> bool:
            await served(1)
            return await run.metric("store_up", kind="redis") == 2

        async with asyncio.timeout(3 * DEADLINE):
            while not await back():
                pass
        logged = {event["use"] for event in await run.events("store_back", 2)}

    assert {200} == {*statuses}
    assert not ran.exists()
    assert (1, 0, {"write": "OutOfMemoryError"}) == (healthy, down, full)
    assert {"OutOfMemoryError", "no answer in 50 ms"} <= faults
    assert {"read", "write"} == logged


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


async def test_a_clock_that_is_set_fails_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """Every request is served when the wall clock jumps by an hour or a day, with a store that uses it."""
    now = [1_800_000_000.0]
    settings: dict[str, Any] = {"store": f"sqlite:{tmp_path}/identity.db", "identity": {"ttl": "20ms"}}
    statuses = []
    async with running(tmp_path / "gw", upstream, clock=lambda: now[0], **settings) as run:
        for step in (0, 3600, -7200, 3600 + 86_400, -2 * 86_400, 86_400):
            now[0] += step
            for _ in range(3):
                statuses.append((await run.ask()).status)
                await asyncio.sleep(0.02)

    assert [200] * 18 == statuses


async def test_a_damaged_file_is_told_and_used_again(tmp_path: Path, upstream: Upstream) -> None:
    """The gateway starts with an unreadable store, and the log says where that was moved."""
    (tmp_path / "identity.db").write_bytes(b"nothing of the kind\n" * 100)
    async with running(tmp_path / "gw", upstream, store=f"sqlite:{tmp_path}/identity.db") as run:
        served = await run.ask()
        (event,) = await run.events("store_damaged")
        status = (await run.admin("/status.json")).json["store"]

    assert (200, str(tmp_path / "identity.db.corrupt")) == (served.status, event["path"])
    assert {"kind": "sqlite", "place": str(tmp_path / "identity.db"), "faults": {}} == status


@NEEDS_REDIS
async def test_the_documented_user_may_do_what_limits_take(tmp_path: Path, upstream: Upstream) -> None:
    """With a policy's `limits` as well, the user of `docs/store.md` is enough, and the count is in Redis."""
    async with redis_serving(tmp_path, acl=documented_acl(limits=True)) as redis:
        settings = settings_for(redis, policies=[policy(limits={"reads_per_minute": 2})])
        async with running(tmp_path / "gw", upstream, **settings) as run:
            statuses: list[int] = []
            counted: list[bytes] = []
            # A busy machine can miss the 50 ms that Redis has for an answer; without the right, no count ever comes.
            async with asyncio.timeout(DEADLINE):
                while not counted or statuses[-1] != 429:
                    statuses.append((await run.ask()).status)
                    counted = [key async for key in redis.admin.scan_iter("productlane-gateway:limits:*")]
            log = run.log_file.read_text()

    assert ([200, 200], 1) == (statuses[:2], len(counted))
    assert "NoPermission" not in log


def hits(content: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """The places of data that no store may contain: keys, tokens, passwords, whole or in part, and pickles.

    Every pickle begins with its protocol, and all but the smallest go on with a frame. Anywhere in a file the frame is
    asked for too, since checksums contain the first two bytes by chance.
    """
    secrets = [KEY, OTHER_KEY, TOKEN, PASSWORD]
    parts = {text[at : at + 12].encode() for text in secrets for at in range(len(text) - 11)}
    needles = {*parts, b"\x80\x04\x95", b"\x80\x05\x95", b"Authorization", b"Bearer"}
    found = [(name, needle) for name, data in content.items() for needle in needles if needle in data]
    return found + [(name, data[:2]) for name, data in content.items() if data.startswith((b"\x80\x04", b"\x80\x05"))]


@NEEDS_REDIS
async def test_redis_holds_nothing_secret(tmp_path: Path, upstream: Upstream, redis: RedisServer) -> None:
    """All of Redis contains no key, no token, no password, no request and no pickle."""
    settings = settings_for(redis, identity=OFTEN, **TWO_KEYS)
    async with running(tmp_path / "gw", upstream, **settings) as run:
        await run.ask()
        await run.ask("GET", "/api/v2/companies", f"X-Api-Key: {KEY}")

        async def kept() -> bool:
            await run.ask()
            return len([key for key in await redis.everything() if not key.endswith((b":asked", b":budgets"))]) == 2

        await eventually(kept, RESTED)
        found = await redis.everything()

    assert b"wks_1" in b"".join(found.values())
    assert [] == hits({"keys": b"\n".join(found), **{key.decode(): value for key, value in found.items()}})


async def test_the_file_holds_nothing_secret(tmp_path: Path, upstream: Upstream) -> None:
    """The file and its journal contain no key, no token, no request and no pickle."""
    (tmp_path / "db").mkdir()
    settings: dict[str, Any] = {"store": f"sqlite:{tmp_path}/db/identity.db", "identity": OFTEN}
    found = dict[str, bytes]()
    async with running(tmp_path / "gw", upstream, **settings, **TWO_KEYS) as run:
        await run.ask()
        await run.ask("GET", "/api/v2/companies")

        async def kept() -> bool:
            await run.ask()
            found.update({path.name: path.read_bytes() for path in (tmp_path / "db").iterdir()})
            return b"wks_1" in b"".join(found.values())

        await eventually(kept, RESTED)

    assert {"identity.db", "identity.db-shm", "identity.db-wal"} == {*found}
    assert [] == hits(found)


def test_the_hunt_finds_what_it_looks_for() -> None:
    """A hunt that could find nothing would prove nothing."""
    assert [] != hits({"a": pickle.dumps(1)})
    assert [] != hits({"a": b"x" + pickle.dumps({"status": 200})})
    assert [] != hits({"a": f"x{KEY[4:18]}y".encode()})
    assert [] == hits({"a": b'{"status": 200}'})
