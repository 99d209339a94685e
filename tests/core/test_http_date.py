"""`gateway.core.http_date`: the date of an answer."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http_date import http_date


@given(st.integers(0, 253_402_300_799))
def test_a_date_is_the_second_that_it_names(second: int) -> None:
    """Any date that a server can send is read as its Unix second."""
    assert second == http_date(formatdate(second, usegmt=True))


def test_a_leap_second_is_a_second() -> None:
    """A leap second (RFC 9110 section 5.6.7) is a valid date."""
    assert 1_483_228_799 == http_date("Sat, 31 Dec 2016 23:59:60 GMT")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 2021 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
    ],
)
def test_what_no_sender_may_make_is_no_date(text: str) -> None:
    """Obsolete forms and damaged dates say nothing, so the gateway's own clock is used."""
    assert http_date(text) is None


@given(st.text(max_size=40))
def test_no_text_can_do_harm(text: str) -> None:
    """Reading any field value gives a number or None."""
    assert http_date(text) is None or isinstance(http_date(text), int)
