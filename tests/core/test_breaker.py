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
    """The first answer closes the circuit for every request."""
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


def test_one_caller_closes_the_way_for_itself_alone() -> None:
    """Requests of one caller that make the upstream hang up open the circuit for that caller only."""
    breaker = Breaker()
    for _ in range(3 * FAILURES):
        breaker.failed(0.0, "poisoner")

    assert (False, True) == (breaker.admit(0.1, "poisoner"), breaker.admit(0.1, "honest"))
    assert breaker.is_open


def test_two_callers_close_it_for_everyone() -> None:
    """Failures in a row in which two callers had a part are the upstream's."""
    breaker = Breaker()
    for number in range(FAILURES):
        breaker.failed(0.0, "ab"[number % 2])

    assert [False] * 3 == [breaker.admit(0.1, caller) for caller in "abc"]


def test_an_upstream_that_takes_no_connection_is_closed_for_everyone() -> None:
    """Nothing that a caller sends can make a connection fail."""
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(0.0, "a", connected=False)

    assert not breaker.admit(0.1, "b")


def test_a_probe_goes_to_another_caller_first() -> None:
    """A caller whose probe failed gets the next probe only if no other caller asks."""
    breaker = Breaker()
    for number in range(FAILURES):
        breaker.failed(0.0, "ab"[number % 2])
    first = breaker.admit(PROBE_EVERY, "a")
    breaker.failed(PROBE_EVERY, "a")
    again, other = breaker.admit(2 * PROBE_EVERY, "a"), breaker.admit(2 * PROBE_EVERY, "b")
    breaker.failed(2 * PROBE_EVERY, "b")

    assert (True, False, True) == (first, again, other)
    assert breaker.admit(3.5 * PROBE_EVERY, "b")


def test_an_answer_to_one_caller_does_not_forgive_another() -> None:
    """A caller whose requests all fail stays blocked while others are answered."""
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(0.0, "poisoner")
        breaker.answered("honest")

    assert not breaker.admit(0.1, "poisoner")
    assert breaker.admit(0.1, "honest")
