"""`gateway.budgets.queue`: who is next, fair by weight."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.queue import FairQueue
from gateway.budgets.shares import Flow
from gateway.core.catalog import Lane

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)
LANES = (Lane.READ, Lane.WRITE, Lane.UPLOAD)
Item = tuple[str, int]


class Queue:
    """A fair queue, and the flows of its callers."""

    def __init__(self) -> None:
        self.fair: FairQueue[Item] = FairQueue()
        self.flows: dict[str, Flow] = {}
        self.lanes: dict[Item, Lane] = {}

    def push(self, item: Item, weight: int = 1, lane: Lane = Lane.READ) -> None:
        flow = self.flows.setdefault(item[0], Flow(item[0], weight, 0.0))
        self.lanes[item] = lane
        self.fair.push(flow, lane, item)

    def draw(self, turns: int, lanes: tuple[Lane, ...] = LANES) -> list[Item]:
        """The next items, at most as many as there are turns; each is charged to its caller."""
        found: list[Item] = []
        while len(found) < turns and (item := self.fair.head(lanes)) is not None:
            self.flows[item[0]].used += 1
            assert self.leave(item)
            found.append(item)
        return found

    def leave(self, item: Item) -> bool:
        return self.fair.remove(self.flows[item[0]], self.lanes[item], item)


@given(WEIGHTS, st.integers(1, 400))
def test_shares_are_as_the_weights(weights: dict[str, int], turns: int) -> None:
    """While callers wait, what each gets is its weight's share of the turns, to within one turn of each caller."""
    queue = Queue()
    for caller, weight in weights.items():
        for number in range(turns):
            queue.push((caller, number), weight)

    got = Counter(caller for caller, _ in queue.draw(turns))

    for caller, weight in weights.items():
        assert abs(got[caller] - turns * weight / sum(weights.values())) <= len(weights)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(LANES)), max_size=60))
def test_nobody_starves(pushes: list[tuple[str, Lane]]) -> None:
    """Everything that waits gets its turn, once, and what one caller sent keeps its order."""
    queue = Queue()
    for number, (caller, lane) in enumerate(pushes):
        queue.push((caller, number), lane=lane)

    got = queue.draw(len(pushes))

    assert sorted(got) == sorted((caller, number) for number, (caller, _) in enumerate(pushes))
    for mine in "abc":
        assert sorted(item for item in got if item[0] == mine) == [item for item in got if item[0] == mine]
    assert (0, None) == (len(queue.fair), queue.fair.head(LANES))


@given(st.integers(1, 1000), st.integers(1, 50))
def test_a_light_caller_waits_for_its_share_and_no_longer(weight: int, rounds: int) -> None:
    """However heavy another caller is and however much it sends, a caller of weight 1 has a turn in each weight + 1."""
    queue = Queue()
    turns = min(400, (weight + 1) * rounds)
    for number in range(turns):
        queue.push(("heavy", number), weight)
        queue.push(("light", number))

    got = [caller for caller, _ in queue.draw(turns)]

    for start in range(turns - weight - 1):
        assert "light" in got[start : start + weight + 2]


def test_a_caller_that_comes_late_is_next_until_it_has_its_share_of_the_window() -> None:
    """The rest of a window goes first to the caller that has used the least of it."""
    queue = Queue()
    for number in range(200):
        queue.push(("early", number))
    queue.draw(30)
    for number in range(50):
        queue.push(("late", number))

    assert {("late", 30)} == set(Counter(caller for caller, _ in queue.draw(30)).items())
    got = Counter(caller for caller, _ in queue.draw(10))
    assert (5, 5) == (got["early"], got["late"])


def test_coming_back_earns_nothing() -> None:
    """A caller that has one request at a time gets no more than one that keeps many waiting."""
    queue = Queue()
    for number in range(200):
        queue.push(("many", number))
    queue.push(("one", 0))
    got: Counter[str] = Counter()
    for number in range(1, 101):
        caller = queue.draw(1)[0][0]
        got[caller] += 1
        if caller == "one":
            queue.push(("one", number))

    assert abs(got["many"] - got["one"]) <= 1


def test_in_a_new_window_all_begin_anew() -> None:
    """What callers used of the last window does not count in this one."""
    queue = Queue()
    for number in range(10):
        queue.push(("a", number))
        queue.push(("b", number))
    queue.flows["a"].used = 7
    queue.fair.reorder()
    before = queue.draw(4)
    for flow in queue.flows.values():
        flow.used = 0
    queue.fair.reorder()

    assert {"b": 4} == Counter(caller for caller, _ in before)
    assert {"a": 3, "b": 3} == Counter(caller for caller, _ in queue.draw(6))


def test_only_lanes_that_can_go_are_drawn() -> None:
    """An upload that waits for the upload budget does not delay writes behind it, even those of its own caller."""
    queue = Queue()
    queue.push(("a", 1), lane=Lane.UPLOAD)
    queue.push(("a", 2), lane=Lane.WRITE)
    queue.push(("b", 3), lane=Lane.WRITE)

    writes = queue.draw(3, (Lane.WRITE,))

    assert {("a", 2), ("b", 3)} == set(writes)
    assert (1, 0) == (queue.fair.waiting(Lane.UPLOAD), queue.fair.waiting(Lane.WRITE))
    assert [("a", 1)] == queue.draw(1)


def test_whoever_leaves_is_not_drawn() -> None:
    """A caller that hung up does not use up a turn."""
    queue = Queue()
    queue.push(("a", 1))
    queue.push(("a", 2))

    assert queue.leave(("a", 1))
    assert not queue.leave(("a", 1))
    assert (1, 1) == (len(queue.fair), queue.flows["a"].waiting)
    assert [("a", 2)] == queue.draw(2)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=300))
def test_the_order_takes_no_more_memory_than_those_who_wait(steps: list[tuple[str, bool]]) -> None:
    """Only callers that are in the queue use memory."""
    queue, waiting = Queue(), list[Item]()
    for number, (caller, comes) in enumerate(steps * 3):
        if comes:
            queue.push((caller, number))
            waiting.append((caller, number))
        elif waiting:
            queue.leave(waiting.pop())

    assert len(queue.fair._order) <= 16 * len(queue.fair._lines)


@given(WEIGHTS, st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40))
def test_the_longest_line_gives_way(weights: dict[str, int], comes: list[str]) -> None:
    """The request that a full queue loses is the last one of the caller with most waiting for its weight."""
    queue = Queue()
    for number, caller in enumerate(comes):
        queue.push((caller, number), weights.get(caller, 1))
    newest = queue.fair.newest_of_longest()
    lines = Counter(comes)

    assert newest is not None
    most = max(lines[caller] / weights.get(caller, 1) for caller in lines)
    assert most == lines[newest[0]] / weights.get(newest[0], 1)
    assert newest[1] == max(number for number, caller in enumerate(comes) if caller == newest[0])
