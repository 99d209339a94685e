"""`gateway.net.addresses`: how long a name's addresses are used, and when they are resolved again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.net.addresses import AVOIDED, FRESH, LAST, PAUSE, SETTLED, SILENT, Address, Entry, Plan

ONE, TWO, THREE = Address("192.0.2.1"), Address("192.0.2.2"), Address("192.0.2.3")
SIX, SEVEN = Address("2001:db8::6"), Address("2001:db8::7")
NOTHING, IN_PASSING, WAIT = Plan(False, False), Plan(True, False), Plan(True, True)


def known(*addresses: Address, at: float = 0.0) -> Entry:
    """A name that a look-up has just led to these addresses."""
    entry = Entry()
    entry.begun(at)
    entry.found(at, addresses or (ONE,), at)
    return entry


def failing(entry: Entry, at: float, why: str = "no such name") -> Entry:
    """The same name after a look-up that failed at once."""
    entry.begun(at)
    entry.failed(at, why, at)
    return entry


def silent(entry: Entry, at: float) -> Entry:
    """The same name while a look-up hangs that was given up."""
    entry.begun(at)
    entry.given_up(at, at)
    return entry


@pytest.mark.parametrize(
    ("entry", "now", "plan"),
    [
        (Entry(), 0.0, WAIT),
        (known(), FRESH - 1, NOTHING),
        (known(), FRESH, IN_PASSING),
        (known(), SETTLED, WAIT),
        (known(), LAST + 1, WAIT),
        # A resolver that fails: the old addresses serve at once, and it is asked every second.
        (failing(known(), 20.0), 20.0 + PAUSE / 2, NOTHING),
        (failing(known(), 20.0), 20.0 + PAUSE, IN_PASSING),
        (failing(known(), 20.0), SETTLED + 1, IN_PASSING),
        (silent(known(), 20.0), SETTLED + 1, IN_PASSING),
        # Without an address that may be used, a failure is waited for again, and a silence that is known of is not.
        (failing(Entry(), 0.0), PAUSE / 2, NOTHING),
        (failing(Entry(), 0.0), PAUSE, WAIT),
        (silent(Entry(), 0.0), PAUSE, IN_PASSING),
        (failing(known(), LAST), LAST + PAUSE, WAIT),
    ],
)
def test_a_name_is_asked_for_in_time(entry: Entry, now: float, plan: Plan) -> None:
    """A request waits for the resolver only if no address is fresh enough and the resolver is not known as silent."""
    assert plan == entry.plan(now, free=True)


@pytest.mark.parametrize(("entry", "wait"), [(Entry(), True), (known(), True), (silent(Entry(), -5.0), False)])
def test_one_look_up_is_enough(entry: Entry, wait: bool) -> None:
    """While one look-up is running no second one starts; requests that have to wait share it."""
    entry.begun(SETTLED)

    assert Plan(False, wait) == entry.plan(SETTLED, free=True)


def test_without_a_thread_nothing_is_begun() -> None:
    """No request waits for a name that cannot be looked up now."""
    assert [NOTHING, NOTHING] == [Entry().plan(0.0, free=False), known().plan(SETTLED, free=False)]


def test_the_last_addresses_serve_for_an_hour() -> None:
    """If the resolver fails, its last answer is used for an hour and no longer."""
    entry = silent(failing(known(), 20.0), 30.0)

    assert (ONE,) == entry.usable(LAST - 1)
    assert () == entry.usable(LAST)


def test_a_later_question_is_believed_more() -> None:
    """An answer that comes late is taken, unless a later question has been answered since; then it changes nothing."""
    entry = silent(known(), 20.0)
    entry.begun(30.0)
    late = silent(known(), 20.0)
    late.found(20.0, (TWO,), 31.0)
    entry.found(30.0, (THREE,), 30.5)
    entry.found(20.0, (TWO,), 31.0)
    failed = silent(known(), 20.0)
    failed.begun(30.0)
    failed.found(30.0, (THREE,), 30.5)
    failed.failed(20.0, "no such name", 31.0)

    assert [(TWO,), (THREE,), (THREE,)] == [one.usable(31.0) for one in (late, entry, failed)]
    assert ["", "", ""] == [one.fault for one in (late, entry, failed)]
    assert NOTHING == entry.plan(31.0, free=True)


def test_a_fault_is_told_until_it_is_over() -> None:
    """The reason why a name does not resolve is kept from the first failure to the next success."""
    entry = failing(Entry(), 0.0)
    faults = [entry.fault]
    silent(entry, 2.0)
    faults.append(entry.fault)
    entry.found(2.0, (ONE,), 9.0)

    assert ["no such name", SILENT, ""] == [*faults, entry.fault]


def test_families_take_turns() -> None:
    """If one address family fails, the second attempt uses the other family."""
    assert (SIX, ONE, SEVEN, TWO, THREE) == known(SIX, SEVEN, ONE, TWO, THREE).usable(0.0)


def test_an_address_that_failed_comes_last() -> None:
    """What took no connection is tried after the others for a while, the longest ago first."""
    entry = known(ONE, TWO, THREE)
    entry.avoid(TWO, 1.0)
    entry.avoid(ONE, 2.0)

    assert (THREE, TWO, ONE) == entry.usable(3.0)
    assert (TWO, THREE, ONE) == entry.usable(1.0 + AVOIDED)
    assert (ONE, TWO, THREE) == entry.usable(2.0 + AVOIDED)


def test_an_answer_does_not_make_an_address_good() -> None:
    """That the resolver names an address again does not put it before those that work."""
    entry = known(ONE, TWO)
    entry.avoid(ONE, 14.0)
    entry.begun(FRESH)
    entry.found(FRESH, (ONE, THREE), FRESH)

    assert (THREE, ONE) == entry.usable(FRESH)


@given(st.permutations([ONE, TWO, THREE, SIX, SEVEN]), st.sets(st.sampled_from([ONE, TWO, SIX])))
def test_every_address_is_tried_once(addresses: list[Address], avoided: set[Address]) -> None:
    """Whatever is preferred, no address is lost or tried twice."""
    entry = known(*addresses)
    for address in avoided:
        entry.avoid(address, 0.0)

    assert sorted(addresses, key=str) == sorted(entry.usable(1.0), key=str)
    assert avoided == set(entry.usable(1.0)[len(addresses) - len(avoided) :])
