"""`gateway.budgets.rates`: what may still be spent, in seconds of a clock on which a minute begins at 1000."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.budgets.rates import RateBudget, RateWindow
from gateway.core.budget import Budget
from gateway.core.catalog import Lane

NOW = 1000.0


def spent(window: RateWindow, times: int, now: float = NOW) -> RateWindow:
    """The window after so many requests that are all still in flight."""
    for _ in range(times):
        window.take(now)
    return window


def test_before_the_first_answer_the_vendors_limits_hold() -> None:
    """A key of which nothing is known may send what Productlane grants every key: 1000, 60 and 30 a minute."""
    budget = RateBudget()

    assert [1000, 60, 30] == [budget.left(lane, NOW) for lane in (Lane.READ, Lane.WRITE, Lane.UPLOAD)]


def test_what_is_in_flight_comes_off() -> None:
    """Requests that were sent and not answered yet are spent as far as anybody knows."""
    window = spent(RateWindow(60), 20)

    assert 40 == window.left(NOW)


def test_an_answer_is_the_truth_for_all_replicas() -> None:
    """What other replicas spent shows in the next answer, and in the limit of a key that was granted more."""
    window = spent(RateWindow(60), 2)
    window.settle(NOW, Budget(300, 7, 5060), 60.0)

    assert (300, 6) == (window.limit, window.left(NOW))


def test_answers_out_of_order_do_not_release() -> None:
    """Of two answers of one minute the one with less left is the later one, whichever comes first."""
    window = spent(RateWindow(60), 2)
    window.settle(NOW, Budget(60, 5, 5060), 60.0)
    window.settle(NOW, Budget(60, 6, 5060), 60.0)

    assert 5 == window.left(NOW)


def test_a_new_minute_is_known_by_its_reset() -> None:
    """The first answer of the next minute replaces what the last one said."""
    window = spent(RateWindow(60), 2)
    window.settle(NOW, Budget(60, 0, 5060), 1.0)
    window.settle(NOW, Budget(60, 59, 5120), 60.0)

    assert 59 == window.left(NOW)


def test_past_its_end_the_whole_limit_is_there_less_what_is_in_flight() -> None:
    """At the reset budget is there again without an answer having to say so."""
    window = spent(RateWindow(60), 2)
    window.settle(NOW, Budget(60, 0, 5060), 10.0)

    assert [0, 59] == [max(0, window.left(NOW + 9.9)), window.left(NOW + 10.0)]


def test_a_late_answer_of_the_last_minute_says_nothing_of_this_one() -> None:
    """An answer that took longer than its minute had left does not stop the next minute."""
    window = spent(RateWindow(60), 2)
    window.settle(NOW, Budget(60, 1, 5010), 10.0)
    window.take(NOW + 11)
    window.settle(NOW + 12, Budget(60, 0, 5010), -2.0)

    assert 58 == window.left(NOW + 12)


def test_an_answer_without_fields_counts_as_spent() -> None:
    """An error page of a CDN, or no answer at all, may have cost a request: it is taken to have."""
    window = spent(RateWindow(60), 3)
    window.settle(NOW, Budget(60, 2, 5060), 60.0)
    for _ in range(2):
        window.settle(NOW, None, 0.0)

    assert (0, NOW + 60) == (window.left(NOW), window.ready_at(NOW))
    assert 60 == window.left(NOW + 60)


def test_an_upstream_that_tells_no_limits_is_not_slowed_down() -> None:
    """A stand-in of one's own that has no rate limits gets all that is sent; only what is in flight is bounded."""
    window = RateWindow(60)
    for _ in range(100):
        window.take(NOW)
        window.settle(NOW, None, 0.0)

    assert 60 == window.left(NOW)


def test_what_was_not_sent_is_given_back() -> None:
    """A request whose body never came costs no budget."""
    budget = RateBudget()
    budget.take(Lane.UPLOAD, NOW)
    budget.release(Lane.UPLOAD)

    assert (30, 60) == (budget.left(Lane.UPLOAD, NOW), budget.left(Lane.WRITE, NOW))


def test_a_reset_far_away_is_a_minute_away_at_most() -> None:
    """Clocks that differ by hours, or an upstream that is wrong, cannot stop a key for longer than a minute."""
    window = spent(RateWindow(60), 1)
    window.settle(NOW, Budget(60, 0, 999_999_999), 1e9)

    assert NOW + 60 == window.ready_at(NOW)


def test_a_refusal_of_the_upstream_stops_the_lane_until_it_says() -> None:
    """A 429 for a burst, with budget left in the minute, is heeded all the same; other lanes go on."""
    budget = RateBudget()
    budget.take(Lane.WRITE, NOW)
    budget.settle(Lane.WRITE, NOW, Budget(60, 40, 5060), 60.0)
    budget.block(Lane.WRITE, NOW, 5.0)

    assert (0, False, 40) == (
        budget.left(Lane.WRITE, NOW + 4.9),
        budget.take(Lane.WRITE, NOW),
        budget.left(Lane.WRITE, NOW + 5),
    )
    assert NOW + 5 == budget.ready_at(Lane.WRITE, NOW)
    assert 1000 == budget.left(Lane.READ, NOW)


def test_an_upload_spends_of_both_counts() -> None:
    """Uploads end with the 30 of the minute, and with the writes that others have used up."""
    budget = RateBudget()
    uploads = 0
    while budget.take(Lane.UPLOAD, NOW):
        uploads += 1
    writes = 0
    while budget.take(Lane.WRITE, NOW):
        writes += 1

    assert (30, 30) == (uploads, writes)
    budget.release(Lane.UPLOAD)
    assert budget.take(Lane.WRITE, NOW)
    assert not budget.take(Lane.UPLOAD, NOW)


@pytest.mark.parametrize(("limit", "lane", "left"), [(60, Lane.WRITE, 7), (30, Lane.UPLOAD, 7), (90, Lane.UPLOAD, 7)])
def test_an_uploads_answer_is_told_apart_by_its_limit(limit: int, lane: Lane, left: int) -> None:
    """Where the answer to an upload tells of the write count, it is not taken for the uploads', and the reverse."""
    budget = RateBudget()
    budget.take(Lane.UPLOAD, NOW)
    budget.settle(Lane.UPLOAD, NOW, Budget(limit, left, 5060), 60.0)
    other = Lane.UPLOAD if lane is Lane.WRITE else Lane.WRITE

    assert left == budget._windows[lane][0].left(NOW)
    assert budget._windows[other][0].left(NOW) > left


def test_a_refused_upload_does_not_stop_other_writes() -> None:
    """The 500 uploads of a day are used up: messages still go out."""
    budget = RateBudget()
    budget.block(Lane.UPLOAD, NOW, 40_000.0)

    assert (False, True) == (budget.take(Lane.UPLOAD, NOW), budget.take(Lane.WRITE, NOW))
    assert NOW + 40_000 == budget.ready_at(Lane.UPLOAD, NOW)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.floats(0, 30), st.none(), st.floats(0, 0)),
            st.tuples(
                st.just("settle"),
                st.floats(0, 30),
                st.none() | st.builds(Budget, st.integers(1, 99), st.integers(0, 99), st.integers(0, 9)),
                st.floats(-5, 99),
            ),
            st.tuples(st.just("release"), st.floats(0, 30), st.none(), st.floats(0, 0)),
        )
    )
)
def test_a_window_always_recovers(steps: list[tuple[str, float, Budget | None, float]]) -> None:
    """Whatever answers say and in whatever order, two minutes of silence later the whole limit is there again."""
    window, now, flying = RateWindow(60), NOW, 0
    for step, seconds, reading, until in steps:
        now += seconds
        if step == "take" and window.left(now) > 0:
            window.take(now)
            flying += 1
        elif step != "take" and flying:
            flying -= 1
            window.release() if step == "release" else window.settle(now, reading, until)
        assert window.ready_at(now) <= now + 60

    for _ in range(flying):
        window.release()

    assert 1 <= window.limit == window.left(now + 120)
