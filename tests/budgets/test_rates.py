"""`gateway.budgets.rates`: how much budget remains, by a clock that starts at 1000 seconds.

The upstream's clock of these tests is 4000 s ahead; it is never compared with ours.
"""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.rates import RateWindow
from gateway.core.budget import Reading

NOW = 1000.0


def window(limit: int = 60, **parts: float) -> RateWindow:
    """A window after an answer that said: all but one are left for a minute."""
    made = RateWindow(limit, **parts)  # type: ignore[arg-type]
    made.settle(NOW, made.take(NOW), Reading(limit, 5060, 60), limit - 1)
    return made


def spent(made: RateWindow, times: int, now: float = NOW) -> list[int]:
    """The windows' numbers of so many requests that are all still in flight."""
    return [made.take(now) for _ in range(times)]


def test_of_an_unknown_window_one_request_tries() -> None:
    """After a start the rest of the window is unknown: one request is sent, and the others wait for its answer."""
    made = RateWindow(60)
    before = made.left(NOW)
    epoch = made.take(NOW)
    during = made.left(NOW)
    made.settle(NOW + 0.1, epoch, Reading(60, 5030, 30), 7)

    assert (1, 0, 7) == (before, during, made.left(NOW + 0.1))


def test_how_long_a_window_lasts() -> None:
    """It is the whole length before the first answer, then the time to the reset, and never less than 0."""
    made = window()

    assert 60.0 == RateWindow(60).seconds_left(NOW)
    assert [60.0, 40.0, 0.0] == [made.seconds_left(NOW + passed) for passed in (0, 20, 61)]


def test_a_request_that_was_not_sent_lets_the_next_one_try() -> None:
    """A first request that broke off says nothing, so another takes its place at once."""
    made = RateWindow(60)
    made.release(made.take(NOW))

    assert 1 == made.left(NOW)


def test_while_the_first_answer_is_late_more_and_more_try() -> None:
    """One slow endpoint does not block its lane: the number of probes doubles each half second."""
    made = RateWindow(60)
    made.take(NOW)

    assert [0, 1, 3, 7, 59] == [made.left(NOW + seconds) for seconds in (0.4, 0.5, 1.0, 1.5, 5.0)]


def test_what_is_in_flight_comes_off() -> None:
    """Requests that were sent and not answered yet are spent as far as anybody knows."""
    made = window()
    spent(made, 20)

    assert 39 == made.left(NOW)


def test_an_answer_is_the_truth_for_all_replicas() -> None:
    """What other replicas spent shows in the next answer, and in the limit of a key that was granted more."""
    made = window()
    first, _ = spent(made, 2)
    made.settle(NOW, first, Reading(300, 5060, 60), 7)

    assert (300, 6) == (made.limit, made.remaining(NOW))


def test_answers_out_of_order_do_not_give_back() -> None:
    """Of two answers of one window the one with less left is the later one, whichever comes first."""
    made = window()
    for remaining, epoch in zip((5, 6), spent(made, 2), strict=True):
        made.settle(NOW, epoch, Reading(60, 5060, 60), remaining)

    assert 5 == made.remaining(NOW)


def test_a_reset_that_is_reckoned_anew_for_each_answer_is_one_reset() -> None:
    """Servers that round it to either of two seconds do not begin a new window with each answer."""
    made = window()
    for remaining, reset, epoch in zip((5, 6, 4), (5061, 5060, 5061), spent(made, 3), strict=True):
        made.settle(NOW, epoch, Reading(60, reset, 60), remaining)

    assert (4, 0) == (made.remaining(NOW), made.epoch)


def test_a_new_window_is_known_by_its_reset() -> None:
    """The first answer of the next window replaces what the last one said."""
    made = window()
    first, second = spent(made, 2)
    made.settle(NOW, first, Reading(60, 5060, 1), 0)
    made.settle(NOW, second, Reading(60, 5120, 60), 59)

    assert 59 == made.remaining(NOW)


def test_after_its_end_one_request_tries_and_the_rest_follow_its_reading() -> None:
    """A window that ends a little later than was thought costs one 429, not one for each request that waits."""
    made = window()
    for epoch in spent(made, 1):
        made.settle(NOW, epoch, Reading(60, 5060, 10), 0)
    before, at_the_end = made.left(NOW + 9.9), made.left(NOW + 10.0)
    epoch = made.take(NOW + 10.0)
    trying = made.left(NOW + 10.0)
    made.settle(NOW + 10.1, epoch, Reading(60, 5120, 60), 59)

    assert (0, 1, 0, 59) == (before, at_the_end, trying, made.remaining(NOW + 10.1))


def test_what_the_last_window_had_left_may_go_without_a_try() -> None:
    """If the budget was enough, no request waits when the minute turns."""
    made = window()

    assert 60 == made.left(NOW + 60)


@pytest.mark.parametrize("wait", [0.0, 0.5, 0.99])
def test_a_reset_that_is_rounded_down_is_learnt_once(wait: float) -> None:
    """If the window still counts in the second of its reset, this one and all later ones end with that second."""
    made = window()
    (epoch,) = spent(made, 1)
    made.settle(NOW, epoch, Reading(60, 5060, 10), 0)
    early = NOW + 10.0 + wait
    made.settle(early, made.take(early), Reading(60, 5060, 0), 0)
    again = made.ready_at(early)
    next_one = made.take(again)
    made.settle(again, next_one, Reading(60, 5121, 59), 0)

    assert early + 1.0 == again
    assert again + 60.0 == made.ready_at(again)


def test_the_earliest_end_that_a_date_gives_is_the_nearest() -> None:
    """Dates are cut to whole seconds, so one answer gives the end up to a second late, and more of them better."""
    made = window()
    for now, epoch in zip((NOW + 0.1, NOW + 0.9, NOW + 1.2), spent(made, 3), strict=True):
        made.settle(now, epoch, Reading(60, 5060, 5060 - math.floor(now + 4000)), 0)

    assert NOW + 60 == made.ends


def test_a_late_answer_of_the_last_window_says_nothing_of_this_one() -> None:
    """An answer that took longer than its window had left does not stop the next window."""
    made = window()
    old, other = spent(made, 2)
    made.settle(NOW, other, Reading(60, 5060, 10), 1)
    made.left(NOW + 11)
    made.settle(NOW + 11, made.take(NOW + 11), Reading(60, 5120, 60), 59)
    made.settle(NOW + 12, old, Reading(60, 5060, -2), 0)

    assert 59 == made.remaining(NOW + 12)


def test_a_request_older_than_the_window_counts_as_spent() -> None:
    """Slow uploads hold budget only in the window in which they were sent."""
    made = window()
    slow = spent(made, 59)
    during, after = made.left(NOW + 59), made.left(NOW + 60)
    made.settle(NOW + 60, made.take(NOW + 60), Reading(60, 5120, 60), 59)
    for epoch in slow:
        made.settle(NOW + 70, epoch, None)

    assert (0, 1, 59) == (during, after, made.left(NOW + 70))


def test_an_answer_without_fields_counts_as_spent() -> None:
    """An error page of a CDN, or no answer, counts as one request spent."""
    made = window()
    first, *others = spent(made, 3)
    made.settle(NOW, first, Reading(60, 5060, 60), 2)
    for epoch in others:
        made.settle(NOW, epoch, None)

    assert (0, NOW + 60) == (made.left(NOW), made.ready_at(NOW))


def test_an_upstream_that_tells_no_limits_is_not_slowed_down() -> None:
    """An upstream without rate limits gets every request; only the number in flight is bounded."""
    made = RateWindow(60)
    for _ in range(100):
        made.settle(NOW, made.take(NOW), None)

    assert [60, 60] == [made.left(NOW), made.left(NOW + 61)]


def test_a_reset_far_away_is_a_minute_away_at_most() -> None:
    """An upstream that is wrong by hours cannot stop a key for longer than a minute."""
    made = RateWindow(60)
    made.settle(NOW, made.take(NOW), Reading(60, 999_999_999, 10**9), 0)

    assert NOW + 60 == made.ready_at(NOW)


def test_a_refusal_of_the_upstream_holds_whatever_readings_say() -> None:
    """A 429 for a burst counts even if the window has budget left."""
    made = window()
    made.block(NOW, 5.0)

    assert (0, 59, NOW + 5) == (made.left(NOW + 4.9), made.left(NOW + 5), made.ready_at(NOW))


def test_replicas_come_back_at_moments_of_their_own() -> None:
    """Each waits a little longer than the window, so that not all of them try at once."""
    made = window(spread=0.15)
    (epoch,) = spent(made, 1)
    made.settle(NOW, epoch, Reading(60, 5060, 10), 0)

    assert NOW + 10.15 == made.ready_at(NOW)


def test_the_lowest_reading_is_kept_for_a_window_more() -> None:
    """How near a key came to its limit can be seen a minute later, and not after that."""
    made = window()
    (epoch,) = spent(made, 1)
    made.settle(NOW, epoch, Reading(60, 5060, 60), 3)
    at = NOW + 60
    made.left(at)
    made.settle(at, made.take(at), Reading(60, 5120, 60), 59)

    assert [3, 59] == [made.lowest(at), made.lowest(at + 60)]


def test_no_more_than_fits_can_be_sent_until_a_deadline() -> None:
    """What the running window and the next leave bounds how many requests can wait with any hope."""
    made = window()
    (epoch,) = spent(made, 1)
    made.settle(NOW, epoch, Reading(60, 5060, 10), 3)

    assert [3, 63, 123] == [made.most_until(NOW + seconds, NOW) for seconds in (9, 11, 71)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "settle", "release", "block"]),
        st.floats(0, 30),
        st.none() | st.builds(Reading, st.integers(1, 99), st.integers(0, 9), st.none() | st.integers(-5, 99)),
        st.integers(0, 99),
    )
)


@given(STEPS, st.floats(0, 1))
def test_a_window_always_recovers(steps: list[tuple[str, float, Reading | None, int]], drawn: float) -> None:
    """Whatever answers say and in whatever order, two minutes of silence later requests go again."""
    made, now, flying = RateWindow(60, chance=lambda: drawn), NOW, list[int]()
    for step, seconds, reading, remaining in steps:
        now += seconds
        if step == "block":
            made.block(now, min(60.0, remaining))
        elif step == "take" and made.left(now) > 0:
            flying.append(made.take(now))
        elif step == "release" and flying:
            made.release(flying.pop())
        elif step == "settle" and flying:
            made.settle(now, flying.pop(0), reading, remaining)
        assert made.ready_at(now) <= now + 61
        assert 0 <= made.remaining(now) <= max(made.limit, 99)

    for epoch in flying:
        made.release(epoch)

    assert 1 <= made.left(now + 122) <= made.limit


def shown(made: RateWindow, now: float) -> tuple[object, ...]:
    return made.left(now), made.remaining(now), made.lowest(now), made.limit, made.ends, made.reset, made.epoch


@given(
    st.lists(
        st.tuples(
            st.floats(0, 20),
            st.sampled_from([Reading(60, 5060, 60), Reading(60, 5060, 59), Reading(60, 5061, 0)])
            | st.sampled_from([Reading(60, 5120, 60), Reading(60, 5120, 0), Reading(90, 5120, 59), None]),
            st.integers(0, 60),
        ),
        max_size=12,
    ),
    st.integers(0, 3),
)
def test_answers_of_one_second_are_believed_as_all_others(
    steps: list[tuple[float, Reading | None, int]], late: int
) -> None:
    """That a reading is the very one of the answer before saves work, and changes nothing of what is believed."""
    same, anew = RateWindow(60), RateWindow(60)
    epochs: list[int] = []
    now = NOW
    for seconds, reading, remaining in steps:
        now += seconds
        epochs.append(same.take(now))
        assert epochs[-1] == anew.take(now)
        epoch = epochs.pop(0) if len(epochs) > late else epochs[-1]
        same.settle(now, epoch, reading, remaining)
        anew.settle(now, epoch, None if reading is None else Reading(*reading), remaining)
        assert shown(same, now) == shown(anew, now)


@dataclass
class Counter:
    """A count of Productlane's, as the simulator keeps it: it begins with the first request."""

    limit: int
    rounds_down: bool
    ahead: float
    ends: float = -math.inf
    used: int = 0
    refused: list[float] = field(default_factory=list)
    served: int = 0

    def ask(self, now: float) -> tuple[Reading, int]:
        """A reading, and how many are left."""
        at = now + self.ahead
        if at >= self.ends:
            self.ends, self.used = at + 60, 0
        if self.used < self.limit:
            self.used += 1
            self.served += 1
        else:
            self.refused.append(now)
        reset = math.floor(self.ends) if self.rounds_down else math.ceil(self.ends)
        return Reading(self.limit, reset, reset - math.floor(at)), self.limit - self.used


@given(
    st.integers(2, 40),
    st.booleans(),
    st.floats(-5000, 5000),
    st.floats(0.01, 0.4),
    st.lists(st.floats(0.01, 3), min_size=20, max_size=60),
)
def test_any_rounding_and_any_clock_costs_one_429(
    limit: int, rounds_down: bool, ahead: float, latency: float, pauses: list[float]
) -> None:
    """Over many minutes of more requests than the limit, an upstream refuses one at most, and its budget is used."""
    counter, made, now = Counter(limit, rounds_down, ahead), RateWindow(limit), NOW
    for pause in pauses:
        ready = made.ready_at(now)
        now = max(now, ready) + pause * 0.1
        for _ in range(max(0, made.left(now))):
            epoch = made.take(now)
            made.settle(now + latency, epoch, *counter.ask(now + latency / 2))
            now += latency
            if made.left(now) <= 0:
                break

    assert len(counter.refused) <= 1
    assert counter.served >= limit
