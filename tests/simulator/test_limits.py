"""The rate limits, without sockets: the time is an argument."""

import pytest

from gateway.core.catalog import Lane
from gateway.simulator.limits import DAY, Budget, Limits, Meter, Window

START = 1_000.0


def meter(limits: Limits, day: Window | None = None) -> Meter:
    return Meter(limits, day or Window(limits.uploads_per_day, DAY, "1d"))


def test_the_vendors_limits_are_the_defaults() -> None:
    """1000 reads, 60 writes and 30 uploads a minute, 500 uploads a day, twice the even pace in ten seconds."""
    assert Limits(reads=1000, writes=60, uploads=30, uploads_per_day=500, burst=2.0) == Limits()


def test_a_minute_holds_so_many_and_starts_with_the_first() -> None:
    """The count restarts a minute after its first request, not at the clock's minute."""
    one = meter(Limits(writes=2, burst=6))
    first, second, third = (one.spend(Lane.WRITE, START + 30 * n) for n in range(3))
    fourth = one.spend(Lane.WRITE, START + 59.5)
    fifth = one.spend(Lane.WRITE, START + 61)

    assert [Budget(2, 1, 1060), Budget(2, 0, 1060)] == [first.budget, second.budget]
    assert (False, Budget(2, 1, 1120)) == (third.refused, third.budget)
    assert not fourth.refused
    assert fifth.refused


def test_what_is_refused_spends_nothing_and_the_wait_is_exact() -> None:
    """After `retry_after` seconds the request is served, and a second sooner it is not."""
    one = meter(Limits(reads=1, burst=6))
    one.spend(Lane.READ, START)
    refused = [one.spend(Lane.READ, START + n) for n in range(1, 60)]

    assert all(spent.refused for spent in refused)
    assert list(range(59, 0, -1)) == [spent.retry_after for spent in refused]
    assert ("1m", 1, 0) == (refused[0].window, refused[0].refused_limit, refused[0].budget.remaining)
    assert not one.spend(Lane.READ, START + 60).refused


def test_ten_seconds_hold_twice_the_even_pace() -> None:
    """Of 60 a minute, 20 pass in ten seconds; the refusal names the window of ten seconds, and the minute has room."""
    one = meter(Limits())
    passed = [one.spend(Lane.WRITE, START) for _ in range(20)]
    refused = one.spend(Lane.WRITE, START + 1)
    later = one.spend(Lane.WRITE, START + 10)

    assert not any(spent.refused for spent in passed)
    assert ("10s", 20, 9, 40) == (refused.window, refused.refused_limit, refused.retry_after, refused.budget.remaining)
    assert not later.refused


def test_lanes_are_apart() -> None:
    """Spent writes leave the reads alone."""
    one = meter(Limits(reads=1, writes=1, burst=6))
    one.spend(Lane.WRITE, START)

    assert one.spend(Lane.WRITE, START).refused
    assert not one.spend(Lane.READ, START).refused


def test_an_upload_is_a_write_as_well() -> None:
    """Both budgets are spent, and the headers show the one that ends first."""
    one = meter(Limits(writes=3, uploads=2, burst=6))
    upload = one.spend(Lane.UPLOAD, START)
    write = one.spend(Lane.WRITE, START)
    one.spend(Lane.WRITE, START)
    refused = one.spend(Lane.UPLOAD, START)

    assert (Budget(2, 1, 1060), Budget(3, 1, 1060)) == (upload.budget, write.budget)
    assert (3, "1m") == (refused.refused_limit, refused.window)


def test_the_days_uploads_are_shared_by_a_workspace() -> None:
    """Two keys of a workspace share one budget of uploads a day."""
    limits = Limits(uploads_per_day=2)
    day = Window(2, DAY, "1d")
    first, second = meter(limits, day), meter(limits, day)
    passed = [first.spend(Lane.UPLOAD, START), second.spend(Lane.UPLOAD, START)]
    refused = first.spend(Lane.UPLOAD, START + 3600)

    assert not any(spent.refused for spent in passed)
    assert ("1d", 2, 82_800) == (refused.window, refused.refused_limit, refused.retry_after)


@pytest.mark.parametrize("limit", [1, 2, 3, 59, 60])
def test_a_burst_of_six_refuses_nothing(limit: int) -> None:
    """At six times the even pace, the minute alone decides."""
    one = meter(Limits(writes=limit, burst=6))
    spent = [one.spend(Lane.WRITE, START) for _ in range(limit + 1)]

    assert [False] * limit + [True] == [one.refused for one in spent]
    assert "1m" == spent[-1].window
