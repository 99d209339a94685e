"""`gateway.proxy.turns`: requests that begin in one turn of the event loop, and whose are next."""

import asyncio
import itertools

from gateway.proxy.turns import BEGIN_A_TURN, Turns


async def test_no_more_begin_in_a_turn_than_is_said() -> None:
    """Of many that come at once a few begin; the next few in each turn that follows, in their order."""
    turns = Turns(asyncio.get_running_loop())
    waits = [turns.take("a") for _ in range(4 * BEGIN_A_TURN)]
    begun: list[int] = []
    while len(begun) < 4:
        begun.append(sum(wait is None or wait.done() for wait in waits))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    whole = [wait is None or wait.done() for wait in waits]

    assert BEGIN_A_TURN == begun[0]
    assert all(later - earlier <= 2 * BEGIN_A_TURN for earlier, later in itertools.pairwise(begun))
    assert all(whole)


async def test_each_address_has_its_turn() -> None:
    """A request of another address begins in the next turn, however many wait of the first."""
    turns = Turns(asyncio.get_running_loop())
    flood = [turns.take("a") for _ in range(1_000)]
    other = turns.take("b")
    assert other is not None
    async with asyncio.timeout(1):
        await other

    assert sum(wait is None or wait.done() for wait in flood) <= 2 * BEGIN_A_TURN


async def test_those_who_have_left_take_no_turn() -> None:
    """A caller that leaves while it waits holds up nobody, and the next turns go on."""
    turns = Turns(asyncio.get_running_loop())
    waits = [turns.take("a") for _ in range(20 * BEGIN_A_TURN)]
    for wait in waits[:-1]:
        if wait is not None:
            wait.cancel()
    last = waits[-1]
    assert last is not None
    async with asyncio.timeout(1):
        await last
    await asyncio.sleep(0)

    assert turns.take("b") is None
