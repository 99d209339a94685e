"""`gateway.core.budget`: what Productlane's rate-limit fields say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import Budget
from tests.support.answer_fields import answer_fields

GOOD = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "998", "X-RateLimit-Reset": "1767225600"}


def test_the_three_fields_make_a_budget() -> None:
    """Each of the three numbers on an answer is read as what its name says."""
    assert Budget(limit=1000, remaining=998, reset=1767225600) == Budget.read(answer_fields(GOOD))


def test_a_spent_budget_is_a_budget() -> None:
    """Nothing left is a reading like any other."""
    assert Budget(60, 0, 1) == Budget.read(
        answer_fields(GOOD | {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"})
    )


@pytest.mark.parametrize("limit", ["0", "000"])
def test_a_limit_of_nothing_says_nothing(limit: str) -> None:
    """One answer with a limit of 0, which would never be over, does not stop a key until the next restart."""
    assert Budget.read(answer_fields(GOOD | {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": "0"})) is None


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_without_one_of_the_fields_says_nothing(name: str) -> None:
    """A page from a CDN in front, without the fields, leaves the last reading as it is."""
    headers = dict(GOOD)
    del headers[name]

    assert Budget.read(answer_fields(headers)) is None


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "value", ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "²", "١", "1,1", "1" * 16, "inf"]
)
def test_what_is_not_a_plain_number_says_nothing(name: str, value: str) -> None:
    """A damaged or hostile field is never taken for a number, in any script or notation."""
    assert Budget.read(answer_fields(GOOD | {name: value})) is None


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.text(max_size=20)))
def test_no_fields_can_do_harm(headers: dict[str, str]) -> None:
    """Any fields give a limit of at least one and two numbers of at least zero, or no reading."""
    read = Budget.read(answer_fields(headers))

    assert read is None or (read.limit >= 1 and min(read.remaining, read.reset) >= 0)
