"""`gateway.budgets.replicas`: what others use of the same count, guessed from its readings alone."""

import random
from dataclasses import dataclass

import pytest

from gateway.budgets.rates import RateWindow
from gateway.budgets.replicas import Replicas
from gateway.core.budget import Reading

NOW = 1000.0
LIMIT = 60


def beside_three(remaining: int, drawn: float = 0.0) -> Replicas:
    """A replica beside three that send as much as it, a second apart; the last reading said this many are left."""
    made = Replicas(lambda: drawn)
    made.begin(NOW, LIMIT - 1, 1)
    sent = (LIMIT - remaining) // 4
    made.read(NOW + sent, remaining, sent)
    return made


def test_others_are_counted_by_what_they_use() -> None:
    """Three replicas that each send as much as this one are three."""
    assert 3 == beside_three(20).count


def test_what_was_used_before_a_restart_is_not_taken_for_replicas() -> None:
    """A gateway that starts in the middle of a minute uses all of the rest."""
    made = Replicas(lambda: 0.99)
    made.begin(NOW, 12, 1)
    for number in range(1, 13):
        made.read(NOW + number, 12 - number, number + 1)
        assert (0, 12 - number) == (made.count, made.left(NOW + number, 12 - number, 0, LIMIT))


def test_others_go_on_after_the_last_reading() -> None:
    """With three requests a second of others, a reading that is two seconds old shows six more than are left.

    Of what there is, a quarter is for each of the four.
    """
    made = beside_three(20)

    assert [5, 4, 3] == [made.left(NOW + 10 + seconds, 20, 0, LIMIT) for seconds in (0, 1, 2)]


@pytest.mark.parametrize(("drawn", "left"), [(0.0, 1), (0.49, 1), (0.51, 0), (0.99, 0)])
def test_the_last_requests_are_drawn_by_lot(drawn: float, left: int) -> None:
    """With three other replicas and two requests left, each sends one more in two cases of four."""
    made = beside_three(2, drawn)

    assert left == made.left(NOW + 14, 2, 0, LIMIT)
    assert made.lost(NOW + 14, LIMIT) is (left == 0)


def test_an_old_reading_of_much_is_looked_at_again_by_one_request() -> None:
    """If other replicas may have stopped, one request probes, so the rest of the window is not lost."""
    made = beside_three(20)

    assert [1, 0] == [made.left(NOW + 60, 20, in_flight, LIMIT) for in_flight in (0, 1)]
    assert not made.lost(NOW + 60, LIMIT)


def test_a_new_window_begins_with_as_many_replicas() -> None:
    """When the window resets and all replicas have requests waiting, none sends more than its part at once.

    Each window forgets one replica that no longer sends.
    """
    made = beside_three(2)
    made.begin(NOW + 60, 59, 1)
    part = made.left(NOW + 60, 59, 0, LIMIT)
    made.read(NOW + 61, 57, 3)
    counts = [made.count]
    for window in range(2, 5):
        made.begin(NOW + 60 * window, 59, 1)
        made.read(NOW + 60 * window, 57, 3)
        counts.append(made.count)

    assert (14, [2, 1, 0, 0]) == (part, counts)


def test_what_a_replica_keeps_the_others_keep_too() -> None:
    """With five requests kept by each of four replicas, forty left are five for each to send."""
    made = beside_three(40)

    assert [5, 0] == [made.left(NOW + 5, 40, 0, LIMIT, kept) for kept in (5, 10)]


@dataclass
class Upstream:
    """A count of Productlane's for all replicas."""

    limit: int
    used: int = 0
    refused: int = 0

    def ask(self, now: float) -> tuple[Reading, int]:
        """A reading of an answer, and how many are left; the window ends a minute after `NOW`."""
        self.refused += self.used >= self.limit
        self.used = min(self.limit, self.used + 1)
        return Reading(self.limit, 5060, NOW + 60 - now), self.limit - self.used


@pytest.mark.parametrize("replicas", [2, 4, 8])
@pytest.mark.parametrize("limit", [60, 300])
def test_replicas_without_a_coordinator_hardly_overspend_and_waste_little(replicas: int, limit: int) -> None:
    """Replicas that ask for twice the limit get less than one 429 a window over all, and use 96 % of it."""
    draw = random.Random(1)
    upstreams = []
    for _ in range(40):
        upstream = Upstream(limit)
        windows = [RateWindow(limit, chance=draw.random) for _ in range(replicas)]
        times = sorted((NOW + draw.uniform(0, 59), draw.randrange(replicas)) for _ in range(2 * limit))
        for now, number in times:
            if windows[number].left(now) > 0:
                epoch = windows[number].take(now)
                windows[number].settle(now, epoch, *upstream.ask(now))
        upstreams.append(upstream)

    assert sum(upstream.refused for upstream in upstreams) < len(upstreams)
    assert sum(upstream.used for upstream in upstreams) > 0.96 * limit * len(upstreams)


def test_a_window_that_was_left_to_others_does_not_hold_up_the_next() -> None:
    """A replica that lost the draw of one minute may send in the next, and says when that begins."""
    made = RateWindow(LIMIT, chance=lambda: 0.99)
    made.settle(NOW, made.take(NOW), Reading(LIMIT, 5060, 60), LIMIT - 1)
    for number in range(1, 15):
        remaining = LIMIT - 1 - 4 * number
        made.settle(NOW + number, made.take(NOW + number), Reading(LIMIT, 5060, 60.0 - number), remaining)

    assert [NOW + 60, NOW + 60] == [made.ready_at(NOW + 20), made.ready_at(NOW + 60)]
    assert 1 == made.left(NOW + 60)
