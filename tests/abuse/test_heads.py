"""Heads that nobody answers yet, against a real `serve`: on however many connections, their memory is bounded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import ATTACKER, HONEST, TWO, asks, counted, resident
from tests.support.raw_caller import Caller, head
from tests.support.recording import Arrival, Upstream, answer
from tests.support.served import Served, serving

# Many fields: each costs more memory than its bytes.
LARGE = [f"X-{number}: {'x' * 470}" for number in range(120)]
UNFINISHED = head("GET", "/api/v2/threads", *LARGE, token=None)[:-2]
# Nothing is taken of an upstream for these while their bodies are awaited.
WITHOUT_BODY = head("POST", "/api/v2/threads", *LARGE[:-8], "Content-Length: 9", token=ATTACKER) + b"x"
BEHIND = head("GET", "/api/v2/threads?hang", token=ATTACKER) + UNFINISHED


@pytest.fixture
async def served(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Served]:
    """A gateway whose heads may take a minute, so that none ends by itself, and whose log is short."""
    async with serving(tmp_path, upstream, limits={"head_timeout": "60s"}, log={"level": "info"}, **TWO) as served:
        yield served


@contextlib.contextmanager
def aborted() -> Iterator[list[Caller]]:
    """Connections that are dropped at the end."""
    held: list[Caller] = []
    try:
        yield held
    finally:
        for one in held:
            one.writer.transport.abort()


async def flood(served: Served, said: bytes, addresses: int, each: int, held: list[Caller]) -> None:
    """Connections of several addresses that have said this, as far as the gateway let them."""
    for number in range(addresses * each):
        held.append(await served.connect(local_addr=(f"127.0.0.{2 + number % addresses}", 0)))
        with contextlib.suppress(ConnectionError):
            await held[-1].send(said)


async def reached(served: Served, limit: str) -> bool:
    """Whether a bound has been reached since the start."""
    return not await counted(served, f'limits_reached_total{{limit="{limit}"}} 0')


@pytest.mark.parametrize("said", [UNFINISHED, WITHOUT_BODY, BEHIND], ids=["unfinished", "no body", "pipelined"])
@pytest.mark.parametrize(("addresses", "most"), [(1, 40), (5, 120)], ids=["one address", "five"])
async def test_heads_without_an_answer_fit_into_the_memory(
    served: Served, upstream: Upstream, said: bytes, addresses: int, most: int
) -> None:
    """Heads of 57 kB on 900 connections take 40 MB of one address, 120 MB of several, whatever else is to come of
    them; honest callers beside, of the same address as well, are served.
    """

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"hang" in arrival.target:
            await upstream.hang(arrival, writer)
        writer.write(answer())

    upstream.reply = reply
    assert {200} == await asks(served, 20)
    before = resident(served)
    with aborted() as held:
        await flood(served, said, addresses, 900 // addresses, held)
        await eventually(lambda: reached(served, "heads_per_address" if addresses == 1 else "heads"))
        beside = await served.connect(local_addr=("127.0.0.2", 0))
        await beside.send(head(token=HONEST))
        same = (await beside.response()).status
        others = await asks(served, 20)
        grown = resident(served) - before
        await beside.close()

    assert (200, {200}) == (same, others)
    assert most > grown


async def test_a_head_in_pieces_outlives_a_flood_of_another_address(served: Served) -> None:
    """An honest head that comes in two pieces is served, although heads of another address are more than is kept."""
    with aborted() as held:
        slow = await served.connect()
        held.append(slow)
        await slow.send(head(token=HONEST)[:30])
        await flood(served, UNFINISHED, 5, 200, held)
        await eventually(lambda: reached(served, "heads"))
        await slow.send(head(token=HONEST)[30:])
        assert 200 == (await slow.response()).status


async def test_the_longest_wait_for_a_head_is_told_to_come_again(served: Served) -> None:
    """Of an address with too many unfinished heads the oldest goes, with 503 and `Retry-After`; the newest stay."""
    with aborted() as held:
        await flood(served, UNFINISHED, 1, 400, held)
        await eventually(lambda: reached(served, "heads_per_address"))
        told = await held[0].response()
        newest = held[-1]
        await newest.send(b"\r\n")
        answered = await newest.response()
        async with asyncio.timeout(DEADLINE):
            await held[0].closed()

    assert (503, "overloaded", "1") == (told.status, told.code, told.get("retry-after"))
    assert 401 == answered.status


async def test_heads_that_have_ended_are_counted_no_more(served: Served) -> None:
    """Heads that were answered, given up by their callers, or were no HTTP leave the whole bound to later ones."""
    large = head("GET", "/api/v2/threads", *LARGE, token=None)
    broken = UNFINISHED + b"no field\r\n"
    for _ in range(3):
        with aborted() as held:
            await flood(served, UNFINISHED, 1, 100, held)
        with aborted() as held:
            await flood(served, large, 1, 100, held)
            assert {401} == {(await one.response()).status for one in held}
        with aborted() as held:
            await flood(served, broken, 1, 100, held)
            assert {400} == {(await one.response()).status for one in held}

    assert not await reached(served, "heads_per_address")
