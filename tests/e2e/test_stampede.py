"""Hundreds of callers at once, before anything is known of the key."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.kit import DEADLINE, TOKEN, Arrival, Response, Running, eventually, head

Start = Callable[..., Any]
CROWD = 500


@asynccontextmanager
async def crowd(run: Running) -> AsyncIterator[list["asyncio.Task[Response]"]]:
    """Callers whose requests are all in hand before `/me` answers the first time."""
    all_here = asyncio.Event()

    async def hold(arrival: Arrival, _: Any) -> None:
        if arrival.target == b"/api/v2/me":
            await all_here.wait()

    run.upstream.before_body = hold
    callers = [await run.connect() for _ in range(CROWD)]

    async def ask(number: int) -> Response:
        await callers[number].send(head(token=TOKEN))
        return await callers[number].response()

    async def in_hand() -> bool:
        return run.gateway._metrics.in_flight == CROWD

    async with asyncio.timeout(4 * DEADLINE):
        asking = [asyncio.create_task(ask(number)) for number in range(CROWD)]
        await eventually(in_hand)
        all_here.set()
        yield asking


async def test_five_hundred_callers_of_a_cold_key_ask_once(start: Start) -> None:
    """However many want it, one question tells who the key is, and every caller gets its answer."""
    run = await start()
    async with crowd(run) as asking:
        statuses = Counter(response.status for response in await asyncio.gather(*asking))

    assert {200: CROWD} == statuses
    assert (1, CROWD) == (len(run.upstream.lookups), len(run.upstream.arrivals))


async def test_five_hundred_callers_of_a_refused_key_ask_once(start: Start) -> None:
    """A key that was revoked costs one question for as long as refusals are remembered, and no request upstream."""
    run = await start(identity={"refused_ttl": "1h"})
    run.upstream.scopes = {}
    async with crowd(run) as asking:
        answers = Counter((response.status, response.code) for response in await asyncio.gather(*asking))
    late = await asyncio.gather(*(run.ask() for _ in range(20)))

    assert {(502, "upstream_key_rejected"): CROWD} == answers
    assert {(502, "upstream_key_rejected")} == {(response.status, response.code) for response in late}
    assert (1, 0) == (len(run.upstream.lookups), len(run.upstream.arrivals))
