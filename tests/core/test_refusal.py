"""`gateway.core.refusal`: one status for each code, the envelope, and `Proxy-Status`."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import envelope, proxy_status
from gateway.core.refusal import Code, Reason, Refused

# The codes by status, as the README's table of errors lists them.
STATUSES = {
    400: {"invalid_request"},
    401: {"unauthenticated"},
    403: {"scope_required", "forbidden"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    408: {"request_timeout"},
    410: {"unsupported_key_version", "unsupported_api_version"},
    413: {"payload_too_large"},
    414: {"uri_too_long"},
    417: {"expectation_failed"},
    429: {"rate_limited"},
    431: {"headers_too_large"},
    500: {"internal_error"},
    502: {"upstream_unreachable", "upstream_broken", "upstream_key_rejected", "upstream_key_unsupported"},
    503: {"overloaded", "draining", "circuit_open", "issuer_unavailable"},
    504: {"upstream_timeout"},
    505: {"version_not_supported"},
    508: {"loop_detected"},
}

# RFC 9209 section 2.3, all thirty-two.
PROXY_ERRORS = frozenset(
    """
    dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
    destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout
    connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received
    http_request_error http_request_denied http_response_incomplete http_response_header_section_size
    http_response_header_size http_response_body_size http_response_trailer_section_size http_response_trailer_size
    http_response_transfer_coding http_response_content_coding http_response_timeout http_upgrade_failed
    http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected
    """.split()  # noqa: SIM905 - one to a line would fill a screen
)

# RFC 8941: a token, then parameters whose values are a token, an integer and a string (sections 3.1.2 and 3.3).
MEMBER = re.compile(
    r"productlane-gateway"
    r"(?:; error=(?P<error>[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*))?"
    r"(?:; received-status=(?P<received>[1-5][0-9]{2}))?"
    r'(?:; details="(?P<details>(?:[ !#-\[\]-~]|\\["\\])*)")?'
)


@pytest.mark.parametrize("status", STATUSES)
def test_each_code_has_the_status_that_is_promised(status: int) -> None:
    """A client that branches on the status and one that branches on the code come to the same place."""
    codes = {code.value for code in Code if code.status == status}

    assert STATUSES[status] == codes


def test_no_status_is_answered_that_is_not_promised() -> None:
    """The table of errors is complete: the gateway itself answers with no other status."""
    assert set(STATUSES) == {code.status for code in Code}


@pytest.mark.parametrize("code", Code)
def test_each_code_has_a_registered_proxy_error(code: Code) -> None:
    """`Proxy-Status` names error types that any tool for RFC 9209 knows, those of requests for what the caller did."""
    assert code.proxy_error in PROXY_ERRORS
    assert (400 <= code.status < 500) <= code.proxy_error.startswith("http_request_")


def test_a_refusal_has_the_status_of_its_code() -> None:
    """The code that raises a refusal chooses its code; the status always follows from the code."""
    assert 410 == Refused(Code.UNSUPPORTED_KEY_VERSION, Reason.KEY_VERSION, "…").status


def test_a_refusal_says_the_cause_and_the_fix() -> None:
    """`Proxy-Status` and the log are never silent about why, or about what would change it."""
    bare = Refused(Code.FORBIDDEN, Reason.DENIED, "No.")
    whole = Refused(Code.FORBIDDEN, Reason.DENIED, "No.", note="policy a", fix="ask b", decided_by="c")

    assert (f"No; {Reason.DENIED.fix}", "the caller's policy") == (bare.note, bare.decided_by)
    assert ("policy a; ask b", "ask b", "c") == (whole.note, whole.fix, whole.decided_by)


def test_every_reason_to_refuse_has_its_remedy() -> None:
    """Every refusal names a place to look and an action."""
    allowing = {Reason.SCOPE_HELD, Reason.ENDPOINT_NAMED, Reason.ANY_KEY}

    refusing = set(Reason) - allowing

    assert all(reason.decided_by and reason.fix[0].islower() for reason in refusing)


def test_the_envelope_is_productlanes() -> None:
    """A client's error handling for Productlane reads the gateway's refusals too."""
    refused = Refused(
        Code.SCOPE_REQUIRED,
        Reason.SCOPE_NOT_GRANTED,
        "This endpoint requires the `a:read` scope.",
        note="for operators",
        fix="ask for it",
        decided_by="policy a",
        details={"required": ["a:read"], "granted": []},
        headers=(("Allow", "GET"),),
    )
    expected = (
        '{"error": {"code": "scope_required", "message": "This endpoint requires the `a:read` scope. Ask for it.", '
        '"details": {"required": ["a:read"], "granted": [], '
        '"gateway": {"decided_by": "policy a", "fix": "for operators; ask for it"}}, '
        '"request_id": "req_0123456789abcdef"}}'
    )

    assert expected == json.dumps(envelope(refused, "req_0123456789abcdef"))


def test_every_envelope_says_who_decided_and_what_to_do() -> None:
    """An app that logs the body alone shows which setting refused it and the fix; the message ends in it as well."""
    error = envelope(Refused(Code.NOT_FOUND, Reason.ENDPOINT_UNKNOWN, "No such path."), "req_1")["error"]

    assert "No such path. Correct the path." == error["message"]
    assert {"gateway": {"decided_by": "the catalog", "fix": "No such path; correct the path"}} == error["details"]


@pytest.mark.parametrize(
    ("error", "details", "received", "member"),
    [
        ("", "", None, "productlane-gateway"),
        ("", "", 401, "productlane-gateway; received-status=401"),
        ("http_request_denied", "policy a", None, 'productlane-gateway; error=http_request_denied; details="policy a"'),
        ("", 'say "\\"', None, 'productlane-gateway; details="say \\"\\\\\\""'),
        ("", "Einstellungen → Schlüssel\r\n", None, 'productlane-gateway; details="Einstellungen ? Schl?ssel??"'),
        (
            "proxy_configuration_error",
            "key k",
            410,
            'productlane-gateway; error=proxy_configuration_error; received-status=410; details="key k"',
        ),
    ],
)
def test_proxy_status_says_who_refused_and_why(error: str, details: str, received: int | None, member: str) -> None:
    """Name, error type, upstream status and details stand in the order and the syntax of RFC 9209."""
    assert member == proxy_status(error, details, received=received)


@given(
    st.sampled_from(["", *sorted({code.proxy_error for code in Code})]),
    st.text() | st.text('\\"~ \t\x7f€', max_size=10),
    st.none() | st.integers(100, 599),
)
def test_proxy_status_can_always_be_parsed(error: str, details: str, received: int | None) -> None:
    """The field stays one well-formed member for any configured name."""
    read = MEMBER.fullmatch(proxy_status(error, details, received=received))

    assert read is not None
    assert (error or None) == read["error"]
    assert (str(received) if received else None) == read["received"]
    text = re.sub(r"\\(.)", r"\1", read["details"] or "")
    assert [d if " " <= d <= "~" else "?" for d in details] == list(text)
