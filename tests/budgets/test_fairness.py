"""The promises of `docs/budgets.md` for callers that share a key, over whole minutes of a clock that is a number."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.minutes import Arrival, poisson, simulate

NAMES = "abcde"
DEMANDS = st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(1, 4), st.integers(1, 60)), min_size=1)


def fair(demands: dict[str, tuple[int, int]], limit: int) -> dict[str, float]:
    """The weighted max-min fair shares, by filling all callers at the speed of their weights until they have enough."""
    shares: dict[str, float] = {}
    while missing := {caller: weight for caller, (weight, _) in demands.items() if caller not in shares}:
        level = (limit - sum(shares.values())) / sum(missing.values())
        content = {caller: demands[caller][1] for caller in missing if demands[caller][1] <= level * missing[caller]}
        if not content:
            return shares | {caller: weight * level for caller, weight in missing.items()}
        shares |= content
    return shares


@settings(max_examples=25)
@given(DEMANDS, st.integers(5, 60), st.floats(-5, 5), st.randoms(use_true_random=False))
def test_a_minute_is_divided_by_weighted_max_min(
    demands: dict[str, tuple[int, int]], limit: int, skew: float, shuffle: random.Random
) -> None:
    """Of requests that wait, each caller gets its weighted max-min fair share within one; nothing idles.

    No more is sent than there is, whatever the upstream's clock says.
    """
    names = [caller for caller, (_, demand) in demands.items() for _ in range(demand)]
    shuffle.shuffle(names)
    arrivals = [Arrival(0.04 * number / len(names), caller) for number, caller in enumerate(names)]
    weights = {caller: weight for caller, (weight, _) in demands.items()}
    result = simulate(arrivals, limit, weights=weights, max_wait=59.9, skew=skew)
    got = result.served[0]

    assert 0 == result.upstream_429
    assert min(limit, len(names)) == got.total()
    for caller, share in fair(demands, limit).items():
        assert int(share) - 1 <= got[caller] <= math.ceil(share) + 1


@pytest.mark.slow
@settings(max_examples=10)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.integers(60, 600), min_size=2),
    st.integers(10, 60),
    st.sampled_from([0.0, 5.0, 30.0]),
    st.integers(0, 99),
)
def test_nobody_starves_and_nothing_is_overspent(rates: dict[str, int], limit: int, max_wait: float, seed: int) -> None:
    """Whatever others send, a caller that asks for more than its share gets four fifths of it in each minute."""
    result = simulate(poisson(rates, 3, seed=seed), limit, minutes=3, max_wait=max_wait, seed=seed)

    assert 0 == result.upstream_429
    for caller in rates:
        for minute in (1, 2):
            assert result.served[minute][caller] >= int(0.8 * (limit // len(rates))) - 1


@pytest.mark.parametrize("max_wait", [0.0, 5.0, 30.0])
@pytest.mark.parametrize("replicas", [1, 4])
def test_shares_are_by_weight_at_any_wait(max_wait: float, replicas: int) -> None:
    """With weights 2 and 1, callers that both ask for more than there is get 2 : 1 within 10 %, in each minute 20 %."""
    for seed in range(8, 13):
        arrivals = poisson({"two": 150, "one": 150}, 4, replicas, seed)
        result = simulate(
            arrivals,
            100,
            weights={"two": 2},
            minutes=4,
            max_wait=max_wait,
            replicas=replicas,
            reports=replicas > 1,
            seed=seed,
        )

        assert 1.8 <= result.total("two", 1) / result.total("one", 1) <= 2.2
        assert all(1.6 <= minute["two"] / minute["one"] <= 2.4 for minute in result.served[1:4])


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [False, True])
def test_a_modest_caller_gets_what_it_asks_on_four_replicas(sticky: bool) -> None:
    """Replicas that report to each other keep for a modest caller what it asks, even if the others never see it.

    They use the whole budget, and send about one request a minute too many at most.
    """
    arrivals = poisson({"greedy": 960, "modest": 30}, 5, 4)
    if sticky:
        at = {"greedy": 0, "modest": 1}
        arrivals = [Arrival(one.at, one.caller, at[one.caller]) for one in arrivals]
    result = simulate(arrivals, 100, minutes=5, replicas=4, reports=True)
    served, refused = result.total("modest", 1), sum(minute["modest"] for minute in result.refused[1:])

    assert served >= 0.95 * (served + refused)
    assert result.upstream_429 <= 6
    assert all(minute.total() >= 99 for minute in result.served[:5])


def test_without_reports_replicas_still_hardly_overspend() -> None:
    """Replicas that know only what the upstream's answers say use nearly all, and send about one too many a minute."""
    result = simulate(poisson({"a": 150, "b": 150}, 5, 4), 100, minutes=5, replicas=4)

    assert result.upstream_429 <= 5
    assert sum(minute.total() for minute in result.served[:5]) >= 0.95 * 500
