"""`gateway.budgets.shares`: how much budget is reserved for each caller."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.shares import Flow, Shares

NOW = 1000.0


def shares(**weights: int) -> tuple[Shares, dict[str, Flow]]:
    """The shares of a window, and the flows of its callers."""
    made = Shares()
    return made, {caller: made.flow(caller, weight, NOW) for caller, weight in weights.items()}


def stream(flow: Flow, seconds: float, rate: float, start: float = NOW) -> None:
    """Let a caller ask at this rate, for these seconds."""
    for number in range(int(seconds * rate)):
        flow.arrived(start + number / rate)


def test_a_steady_caller_is_expected_to_go_on() -> None:
    """A caller's reserve is its recent rate over the rest of the window, with a margin."""
    flow = Flow("a", 1, NOW)
    stream(flow, 300, 0.5)

    assert 28 <= flow.expected(NOW + 300, 60.0) <= 45


def test_a_caller_that_stopped_is_expected_less_and_less() -> None:
    """A minute after its last request much less is kept for a caller, and after five it is forgotten."""
    flow = Flow("a", 1, NOW)
    stream(flow, 60, 0.5)
    kept = [flow.expected(NOW + 60 + silent, 60.0) for silent in (0, 60, 120, 180)]

    assert sorted(kept, reverse=True) == kept
    assert kept[1] <= kept[0] / 2
    assert (False, True) == (flow.gone(NOW + 70), flow.gone(NOW + 60 + 420))


def test_one_request_a_minute_keeps_little() -> None:
    """A caller that asks rarely does not reserve its whole share."""
    flow = Flow("a", 1, NOW)
    flow.arrived(NOW)

    assert flow.expected(NOW + 20, 40.0) <= 6


def test_nothing_is_kept_in_the_last_second() -> None:
    """Budget that its callers do not use in time goes to waiting callers, before the window ends."""
    flow = Flow("a", 1, NOW)
    stream(flow, 60, 5)

    assert 0 == flow.expected(NOW + 60, 1.0)


def test_the_caller_at_the_lowest_level_may_always_go() -> None:
    """Nothing is kept from a caller for others that have used as much as it, by their weights."""
    made, flow = shares(a=2, b=1)
    stream(flow["b"], 10, 10)
    flow["a"].used, flow["b"].used = 20, 10

    assert 0 == made.kept(flow["a"], NOW + 10, 50.0)


def test_a_caller_past_its_share_leaves_the_others_theirs() -> None:
    """Of 60, with weights 2 and 1 and both asking for more, one gets 40 and the other 20, in any order of arrival."""
    made, flow = shares(a=2, b=1)
    stream(flow["a"], 30, 1.5)
    stream(flow["b"], 30, 1.5)
    left, now = 60, NOW + 30
    for caller in ("b", "a"):
        while left - made.kept(flow[caller], now, 60.0) > 0:
            flow[caller].used += 1
            left -= 1

    assert (40, 20) == (flow["a"].used, flow["b"].used)


def test_what_a_modest_caller_leaves_goes_to_the_others() -> None:
    """A greedy caller gets all but what the modest one can be expected to ask for."""
    made, flow = shares(greedy=1, modest=1)
    stream(flow["modest"], 60, 0.1)
    left = 100
    while left - made.kept(flow["greedy"], NOW + 60, 60.0) > 0:
        flow["greedy"].used += 1
        left -= 1

    assert 85 <= flow["greedy"].used <= 96


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(1, 50), st.integers(0, 60)), min_size=1),
    st.integers(1, 200),
    st.floats(1, 60),
)
def test_whatever_is_left_somebody_may_take_it(callers: dict[str, tuple[int, int]], left: int, seconds: float) -> None:
    """Nothing is kept from everybody: the caller at the lowest level may go as long as anything is left."""
    made, flow = shares(**{caller: weight for caller, (weight, _) in callers.items()})
    for caller, (_, asks) in callers.items():
        stream(flow[caller], 20, asks / 20)
    for _ in range(left):
        lowest = min(made, key=lambda each: each.level)
        assert 0 == made.kept(lowest, NOW + 20, seconds)
        lowest.used += 1


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1), st.integers(1, 1000))
def test_guaranteed_shares_are_within_the_limit(weights: dict[str, int], limit: int) -> None:
    """The shares that callers read add up to at most the limit, except that every share is at least one."""
    made, flow = shares(**weights)
    for each in flow.values():
        each.arrived(NOW)
    told = [made.share(each, limit, NOW, 60.0) for each in flow.values()]

    assert sum(each for each in told if each > 1) <= limit
    assert all(each >= 1 for each in told)


def test_callers_that_went_are_forgotten_with_the_window() -> None:
    """Only callers that asked in the last minutes use memory."""
    made, flow = shares(a=1, b=1)
    flow["a"].arrived(NOW)
    flow["b"].arrived(NOW + 400)
    flow["b"].used = 7
    made.renew(NOW + 400)

    assert [("b", 0)] == [(each.caller, each.used) for each in made]
