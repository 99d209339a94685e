"""`gateway.core.budget`: what Productlane's rate-limit fields say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.core.budget import Account, Budget, Purse
from gateway.core.catalog import Lane

GOOD = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "998", "X-RateLimit-Reset": "1767225600"}


def test_the_three_fields_make_a_budget() -> None:
    """Each of the three numbers on an answer is read as what its name says."""
    assert Budget(limit=1000, remaining=998, reset=1767225600) == Budget.read(GOOD)


def test_names_are_found_in_any_letter_case() -> None:
    """An HTTP/2 front that lower-cases field names changes nothing."""
    headers = CIMultiDict({name.lower(): value for name, value in GOOD.items()})

    assert Budget(1000, 998, 1767225600) == Budget.read(headers)


def test_a_spent_budget_is_a_budget() -> None:
    """Nothing left is a reading like any other."""
    assert Budget(60, 0, 1) == Budget.read(
        GOOD | {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
    )


@pytest.mark.parametrize("limit", ["0", "000"])
def test_a_limit_of_nothing_says_nothing(limit: str) -> None:
    """One answer with a limit of 0, which would never be over, does not stop a key until the next restart."""
    assert Budget.read(GOOD | {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": "0"}) is None


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_without_one_of_the_fields_says_nothing(name: str) -> None:
    """A page from a CDN in front, without the fields, leaves the last reading as it is."""
    headers = dict(GOOD)
    del headers[name]

    assert Budget.read(headers) is None


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "value", ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "²", "١", "1,1", "1" * 16, "inf"]
)
def test_what_is_not_a_plain_number_says_nothing(name: str, value: str) -> None:
    """A damaged or hostile field is never taken for a number, in any script or notation."""
    assert Budget.read(GOOD | {name: value}) is None


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.text(max_size=20)))
def test_no_fields_can_do_harm(headers: dict[str, str]) -> None:
    """Whatever the fields hold, the reading is a limit of one or more and two numbers from nothing up, or none."""
    read = Budget.read(headers)

    assert read is None or (read.limit >= 1 and min(read.remaining, read.reset) >= 0)


# What may still be spent. Moments are seconds of one clock, on which the test's minute begins at 1000.

NOW = 1000.0


def spent(purse: Purse, times: int, now: float = NOW) -> Purse:
    """The purse after so many requests that are all still in flight."""
    for _ in range(times):
        purse.take(now)
    return purse


def test_before_the_first_answer_the_vendors_limits_hold() -> None:
    """A key of which nothing is known may send what Productlane grants every key: 1000, 60 and 30 a minute."""
    account = Account()

    assert [1000, 60, 30] == [account.left(lane, NOW) for lane in (Lane.READ, Lane.WRITE, Lane.UPLOAD)]


def test_what_is_in_flight_comes_off() -> None:
    """Requests that were sent and not answered yet are spent as far as anybody knows."""
    purse = spent(Purse(60), 20)

    assert 40 == purse.left(NOW)


def test_an_answer_is_the_truth_for_all_replicas() -> None:
    """What other replicas spent shows in the next answer, and in the limit of a key that was granted more."""
    purse = spent(Purse(60), 2)
    purse.settle(NOW, Budget(300, 7, 5060), 60.0)

    assert (300, 6) == (purse.limit, purse.left(NOW))


def test_answers_out_of_order_do_not_give_back() -> None:
    """Of two answers of one minute the one with less left is the later one, whichever comes first."""
    purse = spent(Purse(60), 2)
    purse.settle(NOW, Budget(60, 5, 5060), 60.0)
    purse.settle(NOW, Budget(60, 6, 5060), 60.0)

    assert 5 == purse.left(NOW)


def test_a_new_minute_is_known_by_its_reset() -> None:
    """The first answer of the next minute replaces what the last one said."""
    purse = spent(Purse(60), 2)
    purse.settle(NOW, Budget(60, 0, 5060), 1.0)
    purse.settle(NOW, Budget(60, 59, 5120), 60.0)

    assert 59 == purse.left(NOW)


def test_past_its_end_the_whole_limit_is_there_less_what_is_in_flight() -> None:
    """At the reset budget is there again without an answer having to say so."""
    purse = spent(Purse(60), 2)
    purse.settle(NOW, Budget(60, 0, 5060), 10.0)

    assert [0, 59] == [max(0, purse.left(NOW + 9.9)), purse.left(NOW + 10.0)]


def test_a_late_answer_of_the_last_minute_says_nothing_of_this_one() -> None:
    """An answer that took longer than its minute had left does not stop the next minute."""
    purse = spent(Purse(60), 2)
    purse.settle(NOW, Budget(60, 1, 5010), 10.0)
    purse.take(NOW + 11)
    purse.settle(NOW + 12, Budget(60, 0, 5010), -2.0)

    assert 58 == purse.left(NOW + 12)


def test_an_answer_without_fields_counts_as_spent() -> None:
    """An error page of a CDN, or no answer at all, may have cost a request: it is taken to have."""
    purse = spent(Purse(60), 3)
    purse.settle(NOW, Budget(60, 2, 5060), 60.0)
    for _ in range(2):
        purse.settle(NOW, None, 0.0)

    assert (0, NOW + 60) == (purse.left(NOW), purse.ready_at(NOW))
    assert 60 == purse.left(NOW + 60)


def test_an_upstream_that_tells_no_limits_is_not_slowed_down() -> None:
    """A stand-in of one's own that has no rate limits gets all that is sent; only what is in flight is bounded."""
    purse = Purse(60)
    for _ in range(100):
        purse.take(NOW)
        purse.settle(NOW, None, 0.0)

    assert 60 == purse.left(NOW)


def test_what_was_not_sent_is_given_back() -> None:
    """A request whose body never came costs no budget."""
    account = Account()
    account.take(Lane.UPLOAD, NOW)
    account.give_back(Lane.UPLOAD)

    assert (30, 60) == (account.left(Lane.UPLOAD, NOW), account.left(Lane.WRITE, NOW))


def test_a_reset_far_away_is_a_minute_away_at_most() -> None:
    """Clocks that differ by hours, or an upstream that is wrong, cannot stop a key for longer than a minute."""
    purse = spent(Purse(60), 1)
    purse.settle(NOW, Budget(60, 0, 999_999_999), 1e9)

    assert NOW + 60 == purse.ready_at(NOW)


def test_a_refusal_of_the_upstream_stops_the_lane_until_it_says() -> None:
    """A 429 for a burst, with budget left in the minute, is heeded all the same; other lanes go on."""
    account = Account()
    account.take(Lane.WRITE, NOW)
    account.settle(Lane.WRITE, NOW, Budget(60, 40, 5060), 60.0)
    account.block(Lane.WRITE, NOW, 5.0)

    assert (0, False, 40) == (
        account.left(Lane.WRITE, NOW + 4.9),
        account.take(Lane.WRITE, NOW),
        account.left(Lane.WRITE, NOW + 5),
    )
    assert NOW + 5 == account.ready_at(Lane.WRITE, NOW)
    assert 1000 == account.left(Lane.READ, NOW)


def test_an_upload_spends_of_both_counts() -> None:
    """Uploads end with the 30 of the minute, and with the writes that others have used up."""
    account = Account()
    uploads = 0
    while account.take(Lane.UPLOAD, NOW):
        uploads += 1
    writes = 0
    while account.take(Lane.WRITE, NOW):
        writes += 1

    assert (30, 30) == (uploads, writes)
    account.give_back(Lane.UPLOAD)
    assert account.take(Lane.WRITE, NOW)
    assert not account.take(Lane.UPLOAD, NOW)


@pytest.mark.parametrize(("limit", "lane", "left"), [(60, Lane.WRITE, 7), (30, Lane.UPLOAD, 7), (90, Lane.UPLOAD, 7)])
def test_an_uploads_answer_is_told_apart_by_its_limit(limit: int, lane: Lane, left: int) -> None:
    """Where the answer to an upload tells of the write count, it is not taken for the uploads', and the reverse."""
    account = Account()
    account.take(Lane.UPLOAD, NOW)
    account.settle(Lane.UPLOAD, NOW, Budget(limit, left, 5060), 60.0)
    other = Lane.UPLOAD if lane is Lane.WRITE else Lane.WRITE

    assert left == account._purses[lane][0].left(NOW)
    assert account._purses[other][0].left(NOW) > left


def test_a_refused_upload_does_not_stop_other_writes() -> None:
    """The 500 uploads of a day are used up: messages still go out."""
    account = Account()
    account.block(Lane.UPLOAD, NOW, 40_000.0)

    assert (False, True) == (account.take(Lane.UPLOAD, NOW), account.take(Lane.WRITE, NOW))
    assert NOW + 40_000 == account.ready_at(Lane.UPLOAD, NOW)


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
            st.tuples(st.just("give_back"), st.floats(0, 30), st.none(), st.floats(0, 0)),
        )
    )
)
def test_a_purse_always_recovers(steps: list[tuple[str, float, Budget | None, float]]) -> None:
    """Whatever answers say and in whatever order, two minutes of silence later the whole limit is there again."""
    purse, now, flying = Purse(60), NOW, 0
    for step, seconds, reading, until in steps:
        now += seconds
        if step == "take" and purse.left(now) > 0:
            purse.take(now)
            flying += 1
        elif step != "take" and flying:
            flying -= 1
            purse.give_back() if step == "give_back" else purse.settle(now, reading, until)
        assert purse.ready_at(now) <= now + 60

    for _ in range(flying):
        purse.give_back()

    assert 1 <= purse.limit == purse.left(now + 120)
