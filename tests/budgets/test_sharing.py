"""`gateway.budgets.sharing`: replicas report to each other through a real Redis, and no request waits for it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.budgets.pacing import Lease, Pacer
from gateway.budgets.sharing import Sharing
from gateway.config.store import Redis
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.secret import Secret
from gateway.keys.keyring import Chosen
from gateway.telemetry.event import Event
from tests.support.answer_fields import answer_fields
from tests.support.deadline import DEADLINE
from tests.support.redis_server import NEEDS_REDIS, RedisServer, documented_acl, redis_serving
from tests.support.sentinels import KEY

pytestmark = [NEEDS_REDIS, pytest.mark.slow]
CHOSEN = Chosen("main", "1", Secret(KEY))
READ = Lane.READ


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Replicas:
    """Gateways' budgets of one key of 100 reads a minute, and the upstream's count, on a clock that the test moves."""

    def __init__(self, redis: Redis, count: int, patience: float) -> None:
        self.clock = Clock()
        self.used = 0
        self.faults: list[Event] = []
        self.pacers = [Pacer(clock=self.clock, wall=self.clock, chance=lambda: 0.5) for _ in range(count)]
        self.sharings = [
            Sharing(redis, pacer, patience=patience, clock=self.clock, emit=self.faults.append) for pacer in self.pacers
        ]

    def read(self, number: int, caller: str) -> bool:
        """Whether a caller gets a read at a replica at once."""
        lease = self.pacers[number].take(CHOSEN, READ, Policy(caller))
        if lease is None:
            return False
        self.answer(lease)
        return True

    def answer(self, lease: Lease) -> None:
        self.used += 1
        numbers = {"Limit": 100, "Remaining": 100 - self.used, "Reset": 1060}
        lease.answered(200, answer_fields({f"X-RateLimit-{name}": str(number) for name, number in numbers.items()}))

    async def exchange(self, times: int = 2) -> None:
        for _ in range(times):
            self.clock.now += 1
            async with asyncio.timeout(DEADLINE):
                for sharing in self.sharings:
                    await sharing.exchange()


@contextlib.asynccontextmanager
async def replicas(redis: Redis, count: int = 2, patience: float = DEADLINE / 4) -> AsyncIterator[Replicas]:
    made = Replicas(redis, count, patience)
    try:
        yield made
    finally:
        for sharing in made.sharings:
            await sharing.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis_serving(tmp_path, acl=documented_acl()) as running:
        yield running


async def test_a_share_is_one_of_all_replicas(server: RedisServer) -> None:
    """What a caller sent through another replica is part of its share here, so it cannot have the share twice."""
    async with replicas(server.at) as made:
        for _ in range(40):
            made.read(0, "greedy")
        for number in range(2):
            made.read(number, "modest")
        made.read(1, "greedy")
        await made.exchange()
        lease = made.pacers[1].take(CHOSEN, READ, Policy("modest"))
        assert lease is not None
        made.answer(lease)
        greedy = made.pacers[1].status()["main", "read"].callers

    assert {"greedy": 1, "modest": 2} == {one.caller: one.used for one in greedy}
    assert {"greedy": 50, "modest": 50} == {one.caller: one.share for one in greedy}
    assert not made.faults


async def test_what_a_caller_asks_of_one_replica_is_kept_for_it_by_the_others(server: RedisServer) -> None:
    """A greedy caller at one replica does not use up what a modest one asks for at another, which it never sees."""
    async with replicas(server.at) as made:
        made.read(0, "greedy")
        made.read(1, "modest")
        for _ in range(10):
            lease = made.pacers[1].take(CHOSEN, READ, Policy("modest"))
            assert lease is not None
            lease.released()
        await made.exchange()
        greedy = 0
        for _ in range(20):
            while made.read(0, "greedy"):
                greedy += 1
            await made.exchange(1)
        modest = sum(made.read(1, "modest") for _ in range(20))

    assert modest >= 15
    assert greedy >= 40


async def test_a_replica_that_ends_is_not_waited_for(server: RedisServer) -> None:
    """Its report goes with it, so that the others use its part of what is left at once."""
    async with replicas(server.at, 3) as made:
        for number in range(3):
            made.read(number, "app")
        await made.exchange()
        before = made.pacers[0].take(CHOSEN, READ, Policy("app"))
        left = await server.admin.hlen("productlane-gateway:budgets")
        await made.sharings.pop().close()
        await made.sharings.pop().close()
        rest = await server.admin.hlen("productlane-gateway:budgets")

    assert before is not None
    assert (3, 1) == (left, rest)


async def test_an_outage_costs_no_request_and_is_reported_once(server: RedisServer) -> None:
    """While Redis is away, each replica goes on from what it knew, by the upstream's answers; no request waits."""
    async with replicas(server.at) as made:
        for number in range(2):
            made.read(number, "app")
        await made.exchange()
        await server.kill()
        await made.exchange(5)
        served = [made.read(number, "app") for number in (0, 1, 0, 1)]

    assert [True] * 4 == served
    assert ["budget_sharing_fault"] * 2 == [fault.name for fault in made.faults]


async def test_a_redis_that_hangs_holds_up_no_exchange_for_long(server: RedisServer) -> None:
    """A Redis that accepts and says nothing costs its patience, in the background; back, it is used again."""
    async with replicas(server.at, patience=0.3) as made:
        for number in range(2):
            made.read(number, "app")
        await made.exchange()
        server.signal(signal.SIGSTOP)
        try:
            await made.exchange(1)
        finally:
            server.signal(signal.SIGCONT)
        await made.exchange(3)
        stored = await server.admin.hlen("productlane-gateway:budgets")

    assert len(made.faults) >= 2
    assert 2 == stored


async def test_what_somebody_else_wrote_changes_nothing(server: RedisServer) -> None:
    """Rubbish in the hash is deleted, and a value of another kind under its name is a fault that costs no request."""
    async with replicas(server.at) as made:
        made.read(0, "app")
        await server.admin.hset("productlane-gateway:budgets", "rubbish", "x")
        await made.exchange(1)
        rubbish = await server.admin.hexists("productlane-gateway:budgets", "rubbish")
        await server.admin.set("productlane-gateway:budgets", "x")
        await made.exchange(1)
        served = made.read(0, "app")

    assert (False, True, 1) == (bool(rubbish), served, len(made.faults))


async def test_nobody_who_asks_nothing_is_exchanged(server: RedisServer) -> None:
    """An idle gateway leaves Redis alone."""
    async with replicas(server.at) as made:
        await made.exchange(3)
        stored = await server.admin.exists("productlane-gateway:budgets")

    assert 0 == stored


async def test_without_a_redis_there_is_nothing_to_run() -> None:
    """A gateway whose store is its own memory has nobody to share with."""
    async with asyncio.timeout(DEADLINE):
        await Sharing(None, Pacer()).run()
