"""`gateway.core.retry_after`: one reading and one writing of ``Retry-After``."""

import pytest

from gateway.core.retry_after import read_retry_after, retry_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 12 ", 12.0),
        ("86400", 86_400.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("9" * 10, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_only_whole_seconds_are_read(text: str, seconds: float | None) -> None:
    """A delay is taken from plain digits; anything else counts as no delay at all."""
    assert seconds == read_retry_after({"Retry-After": text})


def test_an_absent_field_is_no_delay() -> None:
    """An answer without the field says nothing about when to come back."""
    assert read_retry_after({}) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "1"), (-3.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (59.5, "60")]
)
def test_a_caller_never_comes_back_too_early(seconds: float, text: str) -> None:
    """The written value is rounded up and never zero."""
    assert ("Retry-After", text) == retry_after(seconds)
