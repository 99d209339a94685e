"""A whole gateway before the simulator: what callers of one key get of its minute, over real sockets.

Everything happens at the beginning of a minute, so no test waits for the next. `tests/budgets/test_fairness.py` goes
over whole minutes of a clock that is a number, and `bench/fairness.py` over real ones.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator import Limits, SimulatedKey, Simulator
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, policy, running
from tests.support.raw_caller import Response
from tests.support.sentinels import KEY, TOKEN
from tests.support.simulated import catalog

OTHER_TOKEN = "plgw_token-of-other-0123456789"
LIMIT = 30


@contextlib.asynccontextmanager
async def productlane() -> AsyncIterator[Simulator]:
    """A simulator whose key has 30 writes a minute."""
    key = SimulatedKey(KEY, frozenset(catalog().scopes))
    async with Simulator(catalog(), [key], limits=Limits(writes=LIMIT, burst=6)) as simulator:
        yield simulator


@contextlib.asynccontextmanager
async def gateway_before(
    simulator: Any, folder: Path, *, ahead: float = 0.0, weight: int = 1
) -> AsyncIterator[Running]:
    """A gateway of two callers, whose clock is so many seconds ahead of the simulator's."""
    policies = [policy("one", TOKEN, weight=weight), policy("other", OTHER_TOKEN)]
    async with running(
        folder, simulator, policies=policies, pacing={"max_wait": "2s"}, clock=lambda: time.time() + ahead
    ) as run:
        yield run


async def crowd(run: Running, *tokens: str) -> list[tuple[str, Response]]:
    """Writes that all come at once, and their answers."""
    async with asyncio.timeout(3 * DEADLINE):
        fields = ("POST", "/api/v2/threads", "Content-Type: application/json")
        answers = await asyncio.gather(*(run.ask(*fields, token=token, body=b"{}") for token in tokens))
    return list(zip(tokens, answers, strict=True))


def served(answers: list[tuple[str, Response]], token: str) -> int:
    """How many writes of a caller were not refused for their number."""
    return sum(sent == token and answer.status != 429 for sent, answer in answers)


def refused_upstream(simulator: Simulator) -> int:
    """How many requests the upstream refused for their number."""
    return sum(arrival.status == 429 for arrival in simulator.arrivals.latest())


async def test_callers_share_a_minute_by_weight(tmp_path: Path) -> None:
    """Weights 2 and 1, both asking for more than there is: 2 : 1 within 10 %, all is used, no 429 upstream."""
    async with productlane() as simulator, gateway_before(simulator, tmp_path, weight=2) as run:
        answers = await crowd(run, *[TOKEN, OTHER_TOKEN] * 45)
    got = served(answers, TOKEN), served(answers, OTHER_TOKEN)

    assert LIMIT == sum(got)
    assert 1.8 <= got[0] / got[1] <= 2.2
    assert 0 == refused_upstream(simulator)


async def test_a_modest_caller_gets_what_it_asks_beside_a_greedy_one(tmp_path: Path) -> None:
    """A caller that is known gets ten writes that come after a hundred of another caller: they are under its share."""
    async with productlane() as simulator, gateway_before(simulator, tmp_path) as run:
        await crowd(run, OTHER_TOKEN)
        answers = await crowd(run, *[TOKEN] * 100, *[OTHER_TOKEN] * 10)

    assert 10 == served(answers, OTHER_TOKEN)
    assert 0 == refused_upstream(simulator)


async def test_a_restart_with_the_budget_spent_costs_one_429(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A gateway that starts in a minute whose budget is gone lets one write find that out, and refuses the others."""
    async with productlane() as simulator:
        async with gateway_before(simulator, tmp_path_factory.mktemp("first")) as run:
            await crowd(run, *[TOKEN] * LIMIT)
        async with gateway_before(simulator, tmp_path_factory.mktemp("second")) as run:
            answers = await crowd(run, *[TOKEN, OTHER_TOKEN] * 5)

    assert 0 == served(answers, TOKEN) + served(answers, OTHER_TOKEN)
    assert 1 == refused_upstream(simulator)


@pytest.mark.parametrize("ahead", [-5.0, 5.0])
async def test_a_clock_that_is_wrong_costs_nothing(tmp_path: Path, ahead: float) -> None:
    """Five seconds ahead or behind Productlane, a gateway sends no write too many, and its `Retry-After` is exact."""
    async with productlane() as simulator, gateway_before(simulator, tmp_path, ahead=ahead) as run:
        began = time.time()
        answers = [answer for _, answer in await crowd(run, *[TOKEN] * 60)]
        took = time.time() - began
    waits = [int(answer.get("retry-after") or 0) for answer in answers if answer.status == 429]

    assert 0 == refused_upstream(simulator)
    assert 30 == len(waits)
    # A date is cut to its second and a reset rounded up; replicas spread by 0.2 s.
    assert 60 - took - 1 <= min(waits) <= max(waits) <= 62
