"""`gateway.callers.patterns`: which texts patterns match, and whether two of them can match the same."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.patterns import overlap
from gateway.callers.patterns import test_of as matches_of

TEXTS = ["".join(signs) for length in range(6) for signs in product("ab:", repeat=length)]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("repo:acme/*", "repo:acme/app", True),
        ("repo:acme/*", "repo:*/app", True),
        ("repo:acme/*:ref:*", "repo:acme/app:ref:main", True),
        ("repo:acme/*", "repo:acme/app:ref", False),
        ("repo:acme/*", "repo:other/*", False),
        ("a*b", "*:*", False),
        ("*x", "y*", True),
        ("same", "same", True),
    ],
)
def test_patterns_that_one_text_fits(one: str, other: str, expected: bool) -> None:
    """Two patterns overlap where some text matches both, whichever is given first; no `*` reaches past a colon."""
    assert (expected, expected) == (overlap(one, other), overlap(other, one))


@given(one=st.text("ab:*", max_size=4), other=st.text("ab:*", max_size=4))
def test_overlap_agrees_with_trying_texts(one: str, other: str) -> None:
    """The answer is that of the slow and obvious way: try every short text with both."""
    tried = any(matches_of(one)(text) and matches_of(other)(text) for text in TEXTS)
    if tried or len(one.replace("*", "")) + len(other.replace("*", "")) < 6:
        assert tried is overlap(one, other)
