"""Patterns of claims: `*` is any text without a colon."""

import re
from collections.abc import Callable
from typing import Any


def test_of(pattern: str) -> Callable[[str], Any]:
    """Whether a whole text matches the pattern."""
    if "*" not in pattern:
        return pattern.__eq__
    return re.compile("[^:]*".join(map(re.escape, pattern.split("*")))).fullmatch


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns."""
    if "*" not in one:
        return bool(test_of(other)(one))
    if "*" not in other:
        return bool(test_of(one)(other))
    begin, start = one.partition("*")[0], other.partition("*")[0]
    if not begin.startswith(start) and not start.startswith(begin):
        return False
    # The places in `other` up to which it can match what `one` has matched so far, one sign after the other.
    reached = _past_stars(other, {0})
    for sign in one:
        if sign == "*":
            # It takes any signs but a colon, so it goes on from each place to those that follow without one.
            for place in sorted(reached):
                while place < len(other) and other[place] != ":" and place + 1 not in reached:
                    place += 1
                    reached.add(place)
            reached = _past_stars(other, reached)
        else:
            by_star = {place for place in reached if other[place : place + 1] == "*" and sign != ":"}
            by_sign = {place + 1 for place in reached if other[place : place + 1] == sign}
            reached = _past_stars(other, by_star | by_sign)
    return len(other) in reached


def _past_stars(pattern: str, places: set[int]) -> set[int]:
    """The places, and those behind a `*` that matches nothing."""
    found = set(places)
    for place in sorted(places):
        while pattern[place : place + 1] == "*":
            place += 1
            found.add(place)
    return found
