"""`gateway.callers.keyset`: keys that change at the issuer, and an issuer that cannot be asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.callers.keyset import FLOOR, KeySet
from gateway.callers.signatures import NoKeys
from gateway.telemetry.event import Event
from gateway.telemetry.events.peers import IssuerFault
from gateway.telemetry.status import IssuerStatus
from tests.support.clock import Clock
from tests.support.issuer import Signer, key_set

ONE, TWO = Signer("one"), Signer("two")
AGE = 300.0


@dataclass
class Bench:
    """A key set over a source that a test answers for."""

    signers: list[Signer] = field(default_factory=lambda: [ONE])
    down: bool = False
    asked: int = 0
    events: list[Event] = field(default_factory=list)
    clock: Clock = field(default_factory=lambda: Clock(1000.0))
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    keys: Any = None

    async def fetch(self) -> bytes:
        self.asked += 1
        await self.gate.wait()
        if self.down:
            raise NoKeys("no connection")
        return key_set(*self.signers)

    @property
    def changes(self) -> int:
        return int(self.keys.generation)

    async def knows(self, kid: str) -> bool:
        if self.keys.get(kid) is None:
            await self.keys.ask()
        self.keys.refresh_in_time()
        return self.keys.get(kid) is not None

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let background tasks run until a condition holds."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - a turn of the loop, not a time
                await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A key set that has asked nothing yet."""
    made = Bench()
    made.keys = KeySet("cluster", made.fetch, max_age=AGE, clock=made.clock, emit=made.events.append)
    made.gate.set()
    yield made
    await made.keys.close()


async def test_an_unknown_key_is_asked_for(bench: Bench) -> None:
    """A token that is signed with a key that the issuer has just made is believed at its first use."""
    assert await bench.knows("one")

    bench.signers.append(TWO)
    bench.clock.now += FLOOR

    assert await bench.knows("two")
    assert await bench.knows("one")
    assert (2, 0) == (bench.asked, bench.changes)


async def test_unknown_names_cannot_make_the_gateway_ask_in_a_rush(bench: Bench) -> None:
    """However many keys callers invent, the issuer is asked once in ten seconds at most."""
    for number in range(50):
        assert not await bench.knows(f"invented-{number}")
    bench.clock.now += FLOOR - 0.01
    assert not await bench.knows("invented")
    assert 1 == bench.asked

    bench.clock.now += 0.01
    assert not await bench.knows("invented")
    assert 2 == bench.asked


async def test_a_crowd_asks_once(bench: Bench) -> None:
    """Callers that wait for the same answer share one question, and one that leaves does not end it for the others."""
    bench.gate.clear()
    crowd = [asyncio.create_task(bench.knows("one")) for _ in range(20)]
    await bench.until(lambda: bench.asked == 1)
    crowd[0].cancel()
    bench.gate.set()
    answers = await asyncio.gather(*crowd, return_exceptions=True)

    assert [True] * 19 == answers[1:]
    assert isinstance(answers[0], asyncio.CancelledError)
    assert 1 == bench.asked


async def test_an_outage_does_not_fail_known_keys(bench: Bench) -> None:
    """While the issuer cannot be asked, known keys still serve without waiting; the reason is reported."""
    assert await bench.knows("one")

    bench.down = True
    bench.clock.now += 100 * AGE
    bench.gate.clear()

    assert await bench.knows("one")
    bench.gate.set()
    await bench.until(lambda: bool(bench.events))
    assert await bench.knows("one")
    assert not await bench.knows("two")
    assert [IssuerFault("cluster", "no connection", first=True)] == bench.events


async def test_an_outage_at_the_start_ends(bench: Bench) -> None:
    """A gateway that starts before its issuer finds the keys as soon as they are there."""
    bench.down = True
    assert not await bench.knows("one")
    assert not bench.keys.fetched.is_set()

    bench.down = False
    bench.clock.now += 2
    bench.keys.refresh_in_time()
    await bench.keys.fetched.wait()
    assert await bench.knows("one")


async def test_a_withdrawn_key_ends_here_too(bench: Bench) -> None:
    """A key that the issuer no longer shows is not believed beyond the age at which keys are asked for again."""
    bench.signers = [ONE, TWO]
    assert await bench.knows("one")

    bench.signers = [TWO]
    bench.clock.now += AGE - 0.01
    assert await bench.knows("one")
    assert 1 == bench.asked
    bench.clock.now += 0.01
    bench.keys.refresh_in_time()
    await bench.until(lambda: bench.changes == 1)

    assert not await bench.knows("one")
    assert await bench.knows("two")


async def test_a_key_that_is_replaced_under_its_name_is_another_key(bench: Bench) -> None:
    """Tokens verified by an old key are forgotten when the issuer publishes another key with the same `kid`."""
    assert await bench.knows("one")

    bench.signers = [Signer("one")]
    bench.clock.now += AGE
    bench.keys.refresh_in_time()
    await bench.until(lambda: bench.changes == 1)

    assert 2 == bench.asked


async def test_an_answer_without_keys_changes_nothing(bench: Bench) -> None:
    """An issuer that by mistake publishes no keys does not lock every caller out."""
    assert await bench.knows("one")

    bench.signers = []
    bench.clock.now += AGE
    bench.keys.refresh_in_time()
    await bench.until(lambda: bool(bench.events))

    assert await bench.knows("one")
    assert 0 == bench.changes


async def test_an_outage_is_seen_and_ends_soon(bench: Bench) -> None:
    """While the keys cannot be fetched the issuer is not up, and it is asked again after ten seconds."""
    assert await bench.knows("one")
    bench.down = True
    bench.clock.now += AGE
    bench.keys.refresh_in_time()
    await bench.keys.ask()
    bench.clock.now += FLOOR - 0.5
    bench.keys.refresh_in_time()
    down = bench.keys.status("https://issuer.test")
    assert IssuerStatus("cluster", "https://issuer.test", False, 1, AGE + FLOOR - 0.5, "no connection") == down
    assert 2 == bench.asked

    bench.down = False
    bench.clock.now += 0.5
    bench.keys.refresh_in_time()
    await bench.keys.ask()
    assert IssuerStatus("cluster", "https://issuer.test", True, 1, 0.0) == bench.keys.status("https://issuer.test")
