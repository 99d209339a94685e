"""`gateway.keys.redis`, against a real Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions
import trustme
from msgspec.structs import replace

from gateway.aio.waiting import finished
from gateway.config.store import Password, Redis
from gateway.keys.redis import RedisStore
from gateway.keys.store import BestEffortStore
from gateway.telemetry.events.keys import StoreBack, StoreFault
from tests.support.clock import Clock
from tests.support.deadline import DEADLINE
from tests.support.ports import free_port
from tests.support.redis_server import NEEDS_REDIS, RedisServer, documented_acl, redis_serving

pytestmark = [NEEDS_REDIS, pytest.mark.slow]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis_serving(tmp_path) as server:
        yield server


@asynccontextmanager
async def storing(at: Redis) -> AsyncIterator[RedisStore]:
    storage = RedisStore(at)
    try:
        yield storage
    finally:
        await storage.close()


@asynccontextmanager
async def patient(at: Redis, **more: Any) -> AsyncIterator[BestEffortStore]:
    guarded = BestEffortStore(RedisStore(at), **more)
    try:
        yield guarded
    finally:
        await guarded.close()


async def test_what_is_stored_is_there_for_others(server: RedisServer) -> None:
    """One replica reads what another has written, byte for byte, until it is deleted."""
    value = bytes(range(256))
    async with storing(server.at) as ours, storing(server.at) as theirs:
        await ours.set("a", value, 60)
        found = await theirs.get("a")
        await theirs.delete("a")
        gone = await ours.get("a")

    assert (value, None) == (found, gone)


async def test_every_key_is_ours_by_its_name_and_has_an_end(server: RedisServer) -> None:
    """A Redis that others use as well keeps nothing of the gateway for ever, and nothing outside its prefix."""
    at = replace(server.at, prefix="acme:gw")
    async with storing(at) as storage:
        await storage.set("a", b"1", 60)
        await storage.claim("b", 2)
        await storage.set("c", b"1", 0.0001)
    lasts = {key: await server.admin.pttl(key) for key in await server.everything()}

    assert {b"acme:gw:a", b"acme:gw:b"} == {*lasts} - {b"acme:gw:c"}
    assert 0 < lasts[b"acme:gw:b"] <= 2_000 < lasts[b"acme:gw:a"] <= 60_000


async def test_a_claim_is_given_once(server: RedisServer) -> None:
    """Of those who claim a key at the same time one gets it, and after it is deleted the next one."""
    async with storing(server.at) as ours, storing(server.at) as theirs:
        both = sorted(await asyncio.gather(ours.claim("a", 60), theirs.claim("a", 60)))
        await ours.delete("a")
        again = await theirs.claim("a", 60)

    assert ([False, True], True) == (both, again)


async def test_questions_at_the_same_time_get_their_own_answers(server: RedisServer) -> None:
    """However many ask at once, none gets another's value; and one connection is enough for all."""
    names = [f"k{number}" for number in range(200)]
    async with storing(server.at) as storage:
        await asyncio.gather(*(storage.set(name, name.encode(), 60) for name in names))
        found = await asyncio.gather(*(storage.get(name) for name in names))
        clients = await server.admin.client_list()

    assert [name.encode() for name in names] == found
    assert 2 == len(clients)


async def test_who_gives_up_leaves_no_answer_behind(server: RedisServer) -> None:
    """A question that was given up before its answer came does not give that to the next one."""
    async with storing(server.at) as storage:
        await storage.set("a", b"of a", 60)
        await storage.set("b", b"of b", 60)
        for pause in (0.0, 0.0001, 0.0005, 0.001) * 10:
            asking = asyncio.create_task(storage.get("a"))
            await asyncio.sleep(pause)
            asking.cancel()
            assert b"of b" == await storage.get("b")


@pytest.mark.parametrize("kind", ["lpush", "hset"])
async def test_a_value_of_another_kind_is_a_miss_and_gives_way(server: RedisServer, kind: str) -> None:
    """WRONGTYPE counts as a missing entry, not as a fault, and a write replaces it."""
    words = {"lpush": ("x",), "hset": ("field", "x")}[kind]
    await getattr(server.admin, kind)("productlane-gateway:a", *words)
    async with storing(server.at) as storage:
        missed = await storage.get("a")
        await storage.set("a", b"1", 60)

        assert (None, b"1") == (missed, await storage.get("a"))


async def test_a_restart_between_two_questions_costs_nothing(server: RedisServer) -> None:
    """A connection that ended while idle is reopened without an error."""
    async with storing(server.at) as storage:
        await storage.set("a", b"1", 60)
        await server.kill()
        await server.start()
        lost = await storage.get("a")
        await storage.set("a", b"2", 60)
        await server.admin.client_kill_filter(skipme=True)

        assert (None, b"2") == (lost, await storage.get("a"))


async def test_a_redis_that_is_down_is_a_miss_and_back_in_ten_seconds(server: RedisServer) -> None:
    """After `kill -9` everything is a miss at once; ten seconds later the new one is in use."""
    clock, reported = Clock(), list[Any]()
    async with patient(server.at, clock=clock, emit=reported.append) as guard:
        await guard.set("a", b"1", 60)
        await server.kill()
        down = [await guard.get("a") for _ in range(3)]
        await guard.set("a", b"2", 60)
        await server.start()
        clock.now += 9.9
        resting = await guard.get("a")
        clock.now += 0.1
        await guard.set("a", b"3", 60)
        back = await guard.get("a")

    assert ([None] * 3, None, b"3") == (down, resting, back)
    assert ["read", "write"] == [fault.use for fault in reported if isinstance(fault, StoreFault) and fault.first]
    assert ["read", "write"] == sorted(one.use for one in reported if isinstance(one, StoreBack))


async def test_a_redis_that_hangs_is_waited_for_once(server: RedisServer) -> None:
    """A silent server costs one time-out, and is used again once it answers."""
    clock, reported = Clock(), list[Any]()
    async with patient(server.at, clock=clock, emit=reported.append) as guard:
        await guard.set("a", b"1", 60)
        server.signal(signal.SIGSTOP)
        hung = [await guard.get("a") for _ in range(20)]
        await guard.set("a", b"2", 60)
        server.signal(signal.SIGCONT)
        clock.now += 10

        async with asyncio.timeout(DEADLINE):
            while (back := await guard.get("a")) is None:
                clock.now += 10
                await asyncio.sleep(0.01)

    assert ([None] * 20, b"1") == (hung, back)
    assert StoreFault("", "read", "no answer in 50 ms", True) == reported[0]


async def test_a_full_redis_is_read(server: RedisServer) -> None:
    """At `maxmemory` with `noeviction` writes fail and reads continue."""
    async with patient(server.at, clock=Clock()) as guard:
        await guard.set("a", b"1", 60)
        await server.admin.config_set("maxmemory", "1")
        await guard.set("b", b"2", 60)

        assert (b"1", {"write": "OutOfMemoryError"}) == (await guard.get("a"), guard.faults)


async def test_a_replica_that_may_not_be_written_to_is_read(server: RedisServer) -> None:
    """With a read-only replica the gateway serves and reports the failed writes."""
    async with patient(server.at, clock=Clock()) as guard:
        await guard.set("a", b"1", 60)
        await server.admin.config_set("replica-serve-stale-data", "yes")
        await server.admin.replicaof("127.0.0.1", free_port())
        await guard.set("b", b"2", 60)

        assert (b"1", {"write": "ReadOnlyError"}) == (await guard.get("a"), guard.faults)


async def test_a_slow_redis_is_a_miss(server: RedisServer) -> None:
    """An answer that takes longer than 50 ms is not waited for, nor taken for that to a later question."""
    clock = Clock()
    async with patient(server.at, clock=clock) as guard:
        await guard.set("a", b"1", 60)
        sleeping = asyncio.create_task(server.command("DEBUG", "SLEEP", "0.3"))
        await asyncio.sleep(0.05)
        missed = await guard.get("a")
        await sleeping
        clock.now += 10

        assert (None, b"1") == (missed, await guard.get("a"))


async def test_one_that_is_slow_to_reach_is_used_from_the_second_question_on(server: RedisServer) -> None:
    """A connection that takes longer than the time-out is completed, and the next call uses it."""
    connections = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        there = await asyncio.open_connection("127.0.0.1", server.at.port)
        await asyncio.sleep(0.2)  # it is this far away
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))

    far = await asyncio.start_server(relay, "127.0.0.1", 0)
    clock = Clock()
    at = replace(server.at, port=far.sockets[0].getsockname()[1], database=1)
    async with far, patient(at, clock=clock) as guard:
        first = await guard.claim("a", 60), {**guard.faults}
        storage: Any = guard._store
        await finished(storage._connecting.running(None))
        clock.now += 10
        await guard.set("b", b"2", 60)
        second = await guard.get("b")

    assert (True, {"write": "no answer in 50 ms"}) == first
    assert (b"2", 1) == (second, connections)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(4096):
            writer.write(piece)
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, tuple[Path, Path]]:
    """A CA, and a server's certificate and key that it has issued."""
    authority, files = trustme.CA(), [tmp_path / name for name in ("ca.pem", "tls.crt", "tls.key")]
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(files[0]))
    issued.cert_chain_pems[0].write_to_path(str(files[1]))
    issued.private_key_pem.write_to_path(str(files[2]))
    return files[0], (files[1], files[2])


ACL = documented_acl()


async def test_tls_and_a_user_that_may_do_little(tmp_path: Path, authority: tuple[Path, tuple[Path, Path]]) -> None:
    """By TLS, and with a user that may do only what the documentation lists, everything works."""
    ca, files = authority
    async with redis_serving(tmp_path, tls=files, ca=ca, acl=ACL, database=1) as server, storing(server.at) as storage:
        await storage.set("a", b"1", 60)
        claimed = await storage.claim("b", 60)
        found = await storage.get("a")
        await storage.delete("a")

        assert (True, b"1", None) == (claimed, found, await storage.get("a"))


async def test_a_certificate_of_a_stranger_gets_no_password(
    tmp_path: Path, authority: tuple[Path, tuple[Path, Path]]
) -> None:
    """A server that cannot prove its name is not talked to."""
    ca, files = authority
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    async with redis_serving(tmp_path, tls=files, ca=ca, acl=ACL) as server:
        for at in (replace(server.at, ca=stranger), replace(server.at, host="127.0.0.1"), replace(server.at, ca=None)):
            async with storing(at) as storage:
                with pytest.raises(redis.exceptions.ConnectionError):
                    await storage.get("a")


async def test_a_wrong_password_is_told_by_its_kind(tmp_path: Path) -> None:
    """The fault says that it is the password, without the password."""
    async with redis_serving(tmp_path, acl=ACL) as server:
        guard = BestEffortStore(RedisStore(replace(server.at, password=Password("", "wrong"))), timeout=5)
        missed = await guard.get("a")
        await guard.close()

    assert (None, {"read": "AuthenticationError"}) == (missed, guard.faults)


async def test_a_password_that_changes_is_used_by_the_next_connection(tmp_path: Path) -> None:
    """Passwords rotate as keys do: the file is read again when a connection is made."""
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("old-password")
    async with redis_serving(tmp_path, acl=ACL) as server:
        await server.command("ACL", "SETUSER", "gateway", "resetpass", ">old-password")
        async with storing(replace(server.at, password=Password(f"file:{file}"))) as storage:
            await storage.set("a", b"1", 60)
            await server.command("ACL", "SETUSER", "gateway", "resetpass", ">new-password")
            file.write_text("new-password")
            await server.admin.client_kill_filter(skipme=True)

            assert b"1" == await storage.get("a")


async def test_closing_gives_up_a_connection_that_does_not_come() -> None:
    """An end does not wait for a Redis that never answers."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    deaf = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    at = Redis("127.0.0.1", deaf.sockets[0].getsockname()[1], database=1)
    async with deaf, asyncio.timeout(DEADLINE):
        guard = BestEffortStore(RedisStore(at))
        await guard.get("a")
        await guard.close()

    assert {"read": "no answer in 50 ms"} == guard.faults
