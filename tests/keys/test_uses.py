"""When a secret was used: the last time, and how often in the last hour."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.keys.uses import Uses

NOON = 1_800_000_000.0


def test_a_secret_that_was_never_used() -> None:
    """Without a request there is no last use, and the hour is empty."""
    assert (None, 0) == (Uses().last, Uses().last_hour(NOON))


def test_an_hour_is_forgotten_minute_by_minute() -> None:
    """A request counts for the hour after it, to the minute."""
    uses = Uses()
    uses.count(NOON)
    uses.count(NOON + 30 * 60)

    assert [2, 2, 1, 1, 0] == [uses.last_hour(NOON + 60 * minutes) for minutes in (30, 59, 60, 89, 90)]
    assert NOON + 30 * 60 == uses.last


def test_a_clock_that_is_set_back_loses_no_count() -> None:
    """A clock that steps back keeps the counts; a leap forward and back empties the hour, and counting continues."""
    uses = Uses()
    uses.count(NOON)
    uses.count(NOON - 120)
    uses.count(NOON + 86_400)
    uses.count(NOON)

    assert 1 == uses.last_hour(NOON)


@given(st.lists(st.integers(0, 7200), max_size=60))
def test_the_hour_agrees_with_a_list_of_moments(moments: list[int]) -> None:
    """The ring of minutes gives the same count as a list of all moments."""
    uses, passed = Uses(), sorted(moments)
    for moment in passed:
        uses.count(NOON + moment)
    now = max(passed, default=0) + 61
    inside = [moment for moment in passed if (NOON + now) // 60 - (NOON + moment) // 60 < 60]

    assert len(inside) == uses.last_hour(NOON + now)
