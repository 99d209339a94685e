"""`gateway.telemetry.ids`: ids that look like Productlane's, and nothing logged that an upstream could plant."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.ids import RequestIds, read_request_id, trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def test_request_ids_look_like_productlanes_and_never_repeat() -> None:
    """Every id is ``req_`` and 16 hex digits, and no two of them are the same, however many pools are drawn."""
    ids = RequestIds()
    made = [ids() for _ in range(2000)]

    assert 2000 == len(set(made))
    assert all(re.fullmatch("req_[0-9a-f]{16}", one) for one in made)


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", TRACE),
        (None, ""),
        ("", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}-01-more", ""),
        (f"cc-{TRACE}-{PARENT}-01more", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}", ""),
        (f"00-{TRACE}-{PARENT}-01\n", ""),
    ],
)
def test_a_trace_id_is_read_from_a_valid_traceparent_only(traceparent: str | None, expected: str) -> None:
    """A request keeps the trace it belongs to; a broken ``traceparent`` (W3C Trace Context 3.2) names none."""
    assert expected == trace_id(traceparent)


@given(st.text())
def test_a_trace_id_is_never_anything_else(text: str) -> None:
    """Whatever a caller sends as ``traceparent``, only 32 hex digits reach the log."""
    assert re.fullmatch("[0-9a-f]{32}|", trace_id(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("req_0123456789abcdef", "req_0123456789abcdef"),
        ("fra1::iad1::x2k-1700000000-ab+c/d=", "fra1::iad1::x2k-1700000000-ab+c/d="),
        (None, ""),
        ("", ""),
        ("a" * 129, ""),
        ("one two", ""),
        ("req_1\x1b[2J", ""),
        ("pl_v2_abcd1234efgh5678", ""),
        ("plgw_token-of-app-0123456789", ""),
        ("id=pl_v1_abcd1234", ""),
        ("réq", ""),
    ],
)
def test_an_upstreams_request_id_is_logged_only_where_it_is_one(text: str | None, expected: str) -> None:
    """An upstream cannot write into the log by its ``X-Request-Id``, nor echo a key there."""
    assert expected == read_request_id(text)
