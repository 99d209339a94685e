"""`gateway.budgets.claims`: what one request of a caller asks of each count of a key."""

import pytest

from gateway.budgets.claims import Claim, RateBudget
from gateway.core.budget import Reading
from gateway.core.catalog import Lane

NOW = 1000.0


def claim(budget: RateBudget, lane: Lane = Lane.WRITE, caller: str = "app", weight: int = 1) -> Claim:
    """A request that has come."""
    made = budget.claim(lane, caller, weight, NOW)
    for part in made.parts:
        part.flow.arrived(NOW)
    return made


def known(*lanes: Lane) -> RateBudget:
    """A budget that learnt its limits from answers; an upload costs a write as well."""
    budget = RateBudget()
    for lane, limit in ((Lane.READ, 1000), (Lane.WRITE, 60), (Lane.UPLOAD, 30)):
        if lane in lanes:
            first = budget.claim(lane, "first", 1, NOW)
            first.force(NOW)
            first.settle(NOW, Reading(limit, 5060, 60), limit)
    return budget


def takes(budget: RateBudget, lane: Lane, most: int = 2000) -> int:
    """How many requests may be sent."""
    return next((number for number in range(most) if not claim(budget, lane).take(NOW)), most)


def test_before_the_first_answer_the_vendors_limits_hold() -> None:
    """An unknown key is assumed to have what Productlane grants every key: 1000, 60 and 30 a minute."""
    assert {Lane.READ: 1000, Lane.WRITE: 60, Lane.UPLOAD: 30} == {
        lane: made.limit for lane, made in RateBudget().windows.items()
    }


def test_lanes_are_apart() -> None:
    """A refused write does not stop reads."""
    budget = known(Lane.READ, Lane.WRITE)
    claim(budget).block(NOW, 5.0, empty=False)

    assert (0, 1000) == (takes(budget, Lane.WRITE), takes(budget, Lane.READ))


def test_an_upload_spends_of_both_counts() -> None:
    """Uploads end with the 30 of the minute, and with the writes that others have used up."""
    budget = known(Lane.WRITE, Lane.UPLOAD)

    assert (30, 29, 0) == (takes(budget, Lane.UPLOAD), takes(budget, Lane.WRITE), takes(budget, Lane.UPLOAD))


def test_what_was_not_sent_is_given_back() -> None:
    """A request whose body never came costs no budget and none of its caller's share."""
    budget = known(Lane.WRITE, Lane.UPLOAD)
    upload = claim(budget, Lane.UPLOAD)
    upload.take(NOW)
    upload.release()

    assert [0, 0] == [part.flow.used for part in upload.parts]
    assert 30 == takes(budget, Lane.UPLOAD)


@pytest.mark.parametrize(("limit", "told"), [(60, Lane.WRITE), (30, Lane.UPLOAD), (90, Lane.UPLOAD)])
def test_an_uploads_answer_is_told_apart_by_its_limit(limit: int, told: Lane) -> None:
    """If the answer to an upload reports the write count, it does not change the upload count, and the reverse."""
    budget = known(Lane.WRITE, Lane.UPLOAD)
    upload = claim(budget, Lane.UPLOAD)
    upload.take(NOW)
    upload.settle(NOW, Reading(limit, 5060, 60), 7)
    left = {lane: made.remaining(NOW) for lane, made in budget.windows.items()}

    assert 7 == left[told]
    assert left[Lane.WRITE if told is Lane.UPLOAD else Lane.UPLOAD] > 7


def test_a_count_that_an_uploads_answer_does_not_tell_of_is_used_all_the_same() -> None:
    """Uploads are not sent one by one when their answers show the write budget only."""
    budget = known(Lane.WRITE)
    upload = claim(budget, Lane.UPLOAD)
    upload.take(NOW)
    upload.settle(NOW, Reading(60, 5060, 60), 59)

    assert 29 == takes(budget, Lane.UPLOAD)


def test_a_refused_upload_does_not_stop_other_writes() -> None:
    """The 500 uploads of a day are used up: messages still go out."""
    budget = known(Lane.WRITE, Lane.UPLOAD)
    claim(budget, Lane.UPLOAD).block(NOW, 40_000.0, empty=False)

    assert (0, 59) == (takes(budget, Lane.UPLOAD), takes(budget, Lane.WRITE))
    assert NOW + 40_000 == claim(budget, Lane.UPLOAD).ready_at(NOW)


def test_a_caller_past_its_share_learns_when_there_is_more() -> None:
    """The rest of the window is reserved for another caller, so the next window is the earliest certain time."""
    budget = known(Lane.WRITE)
    for _ in range(40):
        claim(budget, caller="other").flow.arrived(NOW)
    greedy = 0
    while claim(budget, caller="greedy").take(NOW):
        greedy += 1
    asking = claim(budget, caller="greedy")

    assert (30, NOW + 60) == (greedy, asking.free_at(NOW))
    assert (30, 0) == asking.window.quota(asking.flow, NOW)[:2]
    assert (30, 30) == asking.window.quota(claim(budget, caller="other").flow, NOW)[:2]
