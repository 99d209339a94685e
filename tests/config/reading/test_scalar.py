"""Durations, sizes and what plain scalars can be taken for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.reading.scalar import reads_as, seconds, size

WHOLE = st.integers(0, 10**9)


@given(number=WHOLE)
def test_a_duration_is_its_number_times_its_unit(number: int) -> None:
    """Units are milliseconds, seconds, minutes, hours and days; the result is in seconds."""
    read = [seconds(f"{number}{unit}") for unit in ("ms", "s", "m", "h", "d")]

    assert [number / 1000, number, number * 60, number * 3600, number * 86_400] == read


@given(number=WHOLE)
def test_a_size_is_its_number_times_its_unit(number: int) -> None:
    """KiB, MiB and GiB are powers of two, kB, MB and GB powers of ten; without a unit it is bytes."""
    read = [size(number)] + [size(f"{number}{unit}") for unit in ("KiB", "MiB", "GiB", "kB", "MB", "GB")]

    assert [number * factor for factor in (1, 2**10, 2**20, 2**30, 10**3, 10**6, 10**9)] == read


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "1.5s", "5S", "5min", "5w", "5s5s", "٥s"])
def test_what_is_no_duration_is_not_guessed(text: str) -> None:
    """Nothing but a whole number and a unit is a duration."""
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)


@pytest.mark.parametrize("text", ["", "16", "16M", "16mib", "1.5MiB", "-1MiB", "16 MiB"])
def test_what_is_no_size_is_not_guessed(text: str) -> None:
    """Nothing but a whole number and a unit is a size."""
    with pytest.raises(ValueError, match="expected a size"):
        size(text)


@pytest.mark.parametrize(
    ("sort", "plain"),
    [
        ("a number", "0 12 012 -3 +3 1_000 0x1F 0o17 0b11 22:22 1:2:3 1.5 1. .5 1e3 1.5e+3 .inf -.INF .nan"),
        ("true or false", "yes No ON off y N true False TRUE"),
        ("nothing", "~ null Null NULL"),
        ("a date", "2027-01-01 2027-1-1 2027-01-01T00:00:00Z"),
        ("a mark of its own", "= <<"),
    ],
)
def test_what_some_reader_takes_for_something_else_is_known(sort: str, plain: str) -> None:
    """A scalar that YAML 1.1 or 1.2 could read as another type must be quoted."""
    assert dict.fromkeys(plain.split(), sort) == {text: reads_as(text) for text in plain.split()}


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.0.0.1:8080", "5s", "threads:read", "/**", "v2", "nope", "a-1", "1.2.3", "é"]
)
def test_plain_text_needs_no_quotes(text: str) -> None:
    """A scalar that every YAML version reads as text needs no quotes."""
    assert reads_as(text) is None
