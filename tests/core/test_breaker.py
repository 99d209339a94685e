"""When an upstream that does not answer is left alone."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import FAILURES, PROBE_EVERY, Breaker


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    """Nine failures close nothing off; the tenth does."""
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    before = breaker.is_open, breaker.admit(0.0)
    breaker.failed(0.0)

    assert (False, True) == before
    assert (True, False) == (breaker.is_open, breaker.admit(0.0))


def test_an_answer_between_starts_the_count_anew() -> None:
    """Failures that are not in a row never open it."""
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.failed(0.0)
        breaker.answered()

    assert not breaker.is_open


def test_an_answer_closes_it() -> None:
    """The first answer lets every request through again."""
    breaker = opened()
    probe = breaker.admit(PROBE_EVERY)
    breaker.answered()

    assert probe
    assert [True] * 3 == [breaker.admit(PROBE_EVERY) for _ in range(3)]


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_one_probe_a_second_at_most(gaps: list[float]) -> None:
    """However often it is asked while open, probes are a second apart, and none that is due is held back."""
    breaker, now, last = opened(), 0.0, 0.0
    for gap in gaps:
        now += gap
        due = now >= last + PROBE_EVERY
        admitted = breaker.admit(now)
        breaker.failed(now)

        assert due == admitted
        last = now if admitted else last
