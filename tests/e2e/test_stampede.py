"""Hundreds of callers at once, before anything is known of the key; and callers while `/me` hangs."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.deadline import DEADLINE, eventually
from tests.support.in_process import Running
from tests.support.raw_caller import Response, head
from tests.support.recording import Arrival, error
from tests.support.sentinels import TOKEN

Start = Callable[..., Any]
CROWD = 500


@asynccontextmanager
async def crowd(run: Running) -> AsyncIterator[list["asyncio.Task[Response]"]]:
    """Callers whose requests have all arrived before the first `/me` answer."""
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
        return run.gateway.parts.metrics.in_flight == CROWD

    async with asyncio.timeout(4 * DEADLINE):
        asking = [asyncio.create_task(ask(number)) for number in range(CROWD)]
        await eventually(in_hand)
        all_here.set()
        yield asking


async def test_five_hundred_callers_of_a_cold_key_ask_once(start: Start) -> None:
    """One `/me` request identifies the key for all waiting callers, and every caller gets its answer."""
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


async def test_a_me_that_hangs_costs_its_time_out_once(start: Start) -> None:
    """While `/me` accepts and says nothing, for however long, no request waits for it again after the first."""
    run = await start(identity={"ttl": "0s"}, upstream={"connect_timeout": "2s"})
    first = await run.ask()
    run.upstream.me = run.upstream.hang
    await run.ask()
    asked, slowest = len(run.upstream.lookups), 0.0
    while len(run.upstream.lookups) < asked + 2:
        began = time.monotonic()
        response = await run.ask()
        slowest = max(slowest, time.monotonic() - began)

        assert 200 == first.status == response.status

    assert slowest < 1.5


async def test_a_missing_scope_does_not_end_that(start: Start) -> None:
    """After a 403 forgot a key's identity, the next request does not wait for a `/me` that hangs."""
    run = await start(identity={"ttl": "0s"}, upstream={"connect_timeout": "1s"})
    run.upstream.me = run.upstream.hang
    run.upstream.reply = error(403, "scope_required", required=["threads:read"])
    await run.ask()
    began = time.monotonic()
    for _ in range(5):
        await run.ask()

    assert time.monotonic() - began < 1.0, "a question takes the second of `connect_timeout`"
