"""`gateway.budgets.tickets`: replicas count the last requests of a window together, in a real Redis."""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from gateway.budgets.pacing import Pacer
from gateway.config.schema.gateway import Pacing
from gateway.config.store import Redis
from gateway.core.catalog import Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Refused
from gateway.core.secret import Secret
from gateway.keys.keyring import Chosen
from gateway.telemetry.event import Event
from tests.support.redis_server import NEEDS_REDIS, free_port, redis_serving
from tests.support.sentinels import KEY

CHOSEN = Chosen("main", "1", Secret(KEY))
NAME = f"productlane-gateway:tickets:{CHOSEN.secret.fingerprint[:16]}:write"
START = 1_800_000_000.0
LIMIT = 60


class Minute:
    """One minute of Productlane's for four replicas that ask for more than there is."""

    def __init__(self, redis: Redis) -> None:
        self.now = START
        self.used = 0
        self.refused = 0
        self.faults: list[Event] = []
        draw = random.Random(3)
        self.pacers = [
            Pacer(clock=self.clock, wall=self.clock, chance=draw.random, store=redis, emit=self.faults.append)
            for _ in range(4)
        ]

    def clock(self) -> float:
        return self.now

    def answer(self) -> tuple[int, dict[str, str]]:
        status = 200 if self.used < LIMIT else 429
        self.used, self.refused = min(LIMIT, self.used + 1), self.refused + (status == 429)
        numbers = {"Limit": LIMIT, "Remaining": LIMIT - self.used, "Reset": math.ceil(START + 60)}
        return status, {f"X-RateLimit-{name}": str(number) for name, number in numbers.items()}

    async def pass_by(self) -> None:
        """Let the replicas ask, 120 times in all; two of three times one after another, else all at once."""
        for number in range(60):
            self.now += 0.9
            together = self.pacers if number % 3 == 0 else [self.pacers[number % 4]]
            await asyncio.gather(*(self.ask(pacer) for pacer in together))
        for pacer in self.pacers:
            await pacer.close()

    async def ask(self, pacer: Pacer) -> None:
        policy = Policy("app")
        try:
            lease = pacer.take(CHOSEN, Lane.WRITE, policy)
            lease = lease or await pacer.wait(CHOSEN, Lane.WRITE, policy, Pacing(max_wait=0.1))
        except Refused:
            return
        lease.sent()
        await asyncio.sleep(0)
        lease.answered(*self.answer())


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    async with redis_serving(tmp_path) as server:
        yield server.at


@NEEDS_REDIS
async def test_replicas_that_count_together_overspend_nothing_and_waste_nothing(redis: Redis) -> None:
    """Four replicas before one Redis get no 429 and use all of the minute."""
    minute = Minute(redis)
    await minute.pass_by()

    assert (0, []) == (minute.refused, minute.faults)
    assert minute.used >= LIMIT - 1


@NEEDS_REDIS
@pytest.mark.parametrize("poison", ["9999999999:5", "1800000060:inf", "x", "1800000060:99999999999", "-1:-1"])
async def test_a_poisoned_count_stops_nobody(redis: Redis, poison: str) -> None:
    """What somebody else wrote under the name neither locks replicas out nor lets them overspend much."""
    async with Client(host=redis.host, port=redis.port) as client:
        await client.set(NAME, poison)
    minute = Minute(redis)
    await minute.pass_by()

    assert minute.refused <= 1
    assert minute.used >= LIMIT - 4


async def test_without_its_redis_a_replica_draws_lots() -> None:
    """A Redis that is gone costs no request: the last ones are drawn by lot, and the fault is reported."""
    minute = Minute(Redis("127.0.0.1", free_port()))
    await minute.pass_by()

    assert {"limits_store_fault"} == {fault.name for fault in minute.faults}
    assert minute.refused <= 1
    assert minute.used >= LIMIT - 4
