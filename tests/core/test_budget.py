"""`gateway.core.budget`: what Productlane's rate-limit fields say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import Reading, read_budget
from tests.support.answer_fields import answer_fields

GOOD = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "998", "X-RateLimit-Reset": "1767225600"}
DATE = "Wed, 31 Dec 2025 23:59:30 GMT"


def read(headers: dict[str, str]) -> tuple[Reading, int] | tuple[None, int]:
    return read_budget(answer_fields(headers))


def test_the_three_fields_make_a_budget() -> None:
    """Each of the three numbers on an answer is read as what its name says."""
    assert (Reading(limit=1000, reset=1767225600, seconds=30), 998) == read(GOOD | {"Date": DATE})


@pytest.mark.parametrize("date", [{}, {"Date": "soon"}])
def test_without_a_date_it_is_not_known_how_far_away_the_reset_is(date: dict[str, str]) -> None:
    """A date that is missing or unreadable leaves the limit, the rest and the reset."""
    assert (Reading(1000, 1767225600, None), 998) == read(GOOD | date)


def test_answers_of_one_second_give_the_same_reading() -> None:
    """What differs between the answers of one second is only how many requests are left."""
    first, second = (read(GOOD | {"Date": DATE, "X-RateLimit-Remaining": left}) for left in ("998", "997"))

    assert first[0] is second[0]
    assert (998, 997) == (first[1], second[1])


def test_a_spent_budget_is_a_budget() -> None:
    """Nothing left is a reading like any other."""
    spent = GOOD | {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}

    assert (Reading(60, 1, None), 0) == read(spent)


@pytest.mark.parametrize("limit", ["0", "000"])
def test_a_limit_of_nothing_says_nothing(limit: str) -> None:
    """One answer with a limit of 0, which would never be over, does not stop a key until the next restart."""
    assert (None, 0) == read(GOOD | {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": "0"})


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_without_one_of_the_fields_says_nothing(name: str) -> None:
    """A page from a CDN in front, without the fields, leaves the last reading as it is."""
    headers = dict(GOOD)
    del headers[name]

    assert (None, 0) == read(headers)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "value", ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "²", "١", "1,1", "1" * 16, "inf"]
)
def test_what_is_not_a_plain_number_says_nothing(name: str, value: str) -> None:
    """A damaged or hostile field is never taken for a number, in any script or notation."""
    assert (None, 0) == read(GOOD | {name: value}) == read(GOOD | {name: value, "Date": DATE})


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.text(max_size=20)))
def test_no_fields_can_do_harm(headers: dict[str, str]) -> None:
    """Any fields give a limit of at least one and two numbers of at least zero, or no reading."""
    reading, remaining = read(headers)

    assert reading is None or (reading.limit >= 1 and min(remaining, reading.reset) >= 0)
