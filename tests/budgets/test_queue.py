"""`gateway.budgets.queue`: who is next, fair by weight."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.queue import FairQueue
from gateway.core.catalog import Lane

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)
LANES = (Lane.READ, Lane.WRITE, Lane.UPLOAD)


def drawn(queue: FairQueue[tuple[str, int]], turns: int) -> list[tuple[str, int]]:
    """The next items, as many as there are turns."""
    return [item for _ in range(turns) if (item := queue.pop(LANES)) is not None]


@given(WEIGHTS, st.integers(1, 400))
def test_shares_are_as_the_weights(weights: dict[str, int], turns: int) -> None:
    """While callers wait, what each gets is its weight's share of the turns, to within one turn of each caller."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for caller, weight in weights.items():
        for number in range(turns):
            queue.push(caller, weight, Lane.READ, (caller, number))

    got = Counter(caller for caller, _ in drawn(queue, turns))

    for caller, weight in weights.items():
        assert abs(got[caller] - turns * weight / sum(weights.values())) <= len(weights)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.sampled_from(LANES)), max_size=60))
def test_nobody_starves(pushes: list[tuple[str, int, Lane]]) -> None:
    """Everything that waits gets its turn, once, and what one caller sent in a lane keeps its order."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number, (caller, weight, lane) in enumerate(pushes):
        queue.push(caller, weight, lane, (caller, number))

    got = drawn(queue, len(pushes))

    assert sorted(got) == sorted((caller, number) for number, (caller, _, _) in enumerate(pushes))
    for mine in "abc":
        assert sorted(item for item in got if item[0] == mine) == [item for item in got if item[0] == mine]
    assert (0, None) == (len(queue), queue.pop(LANES))


@given(st.integers(1, 1000), st.integers(1, 50))
def test_a_light_caller_waits_for_its_share_and_no_longer(weight: int, rounds: int) -> None:
    """However heavy another caller is and however much it sends, a caller of weight 1 has a turn in each weight + 1."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    turns = min(400, (weight + 1) * rounds)
    for number in range(turns):
        queue.push("heavy", weight, Lane.READ, ("heavy", number))
        queue.push("light", 1, Lane.READ, ("light", number))

    got = [caller for caller, _ in drawn(queue, turns)]

    for start in range(turns - weight - 1):
        assert "light" in got[start : start + weight + 2]


def test_having_been_away_earns_nothing() -> None:
    """A caller that comes late takes its share from then on; it does not make up for what it did not ask for."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(200):
        queue.push("early", 1, Lane.READ, ("early", number))
    drawn(queue, 100)
    for number in range(50):
        queue.push("late", 1, Lane.READ, ("late", number))

    got = Counter(caller for caller, _ in drawn(queue, 50))

    assert abs(got["early"] - got["late"]) <= 1


def test_coming_back_earns_nothing_either() -> None:
    """A caller that has one request at a time gets no more than one that keeps many waiting."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(200):
        queue.push("many", 1, Lane.READ, ("many", number))
    queue.push("one", 1, Lane.READ, ("one", 0))
    got: Counter[str] = Counter()
    for number in range(1, 101):
        caller = drawn(queue, 1)[0][0]
        got[caller] += 1
        if caller == "one":
            queue.push("one", 1, Lane.READ, ("one", number))

    assert abs(got["many"] - got["one"]) <= 1


def test_only_lanes_that_can_go_are_drawn() -> None:
    """An upload that waits for uploads does not hold up the writes behind it, not even its own caller's."""
    queue: FairQueue[str] = FairQueue()
    queue.push("a", 1, Lane.UPLOAD, "a upload")
    queue.push("a", 1, Lane.WRITE, "a write")
    queue.push("b", 1, Lane.WRITE, "b write")

    writes = [queue.pop([Lane.WRITE]) for _ in range(3)]

    assert {"a write", "b write", None} == set(writes)
    assert (1, 0) == (queue.waiting(Lane.UPLOAD), queue.waiting(Lane.WRITE))
    assert "a upload" == queue.pop(LANES)


def test_whoever_leaves_is_not_drawn() -> None:
    """A caller that hung up costs nobody a turn."""
    queue: FairQueue[str] = FairQueue()
    for item in ("first", "second"):
        queue.push("a", 1, Lane.READ, item)
    queue.remove("a", Lane.READ, "first")
    queue.remove("a", Lane.READ, "never there")
    queue.remove("nobody", Lane.READ, "first")

    assert 1 == len(queue)
    assert ["second", None] == [queue.pop(LANES), queue.pop(LANES)]
