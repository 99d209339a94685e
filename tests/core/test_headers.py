"""`gateway.core.headers`: which fields cross, in either direction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.headers import check_request_headers, request_headers, response_headers
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.secret import Secret

OURS = [("Via", "1.1 productlane-gateway"), ("Authorization", "Bearer pl_v2_abcd1234efgh5678")]

FRAMING = [
    "Connection",
    "Content-Length",
    "HTTP2-Settings",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
]

NEVER_UPSTREAM = [
    *FRAMING,
    # credentials and sessions
    "Authorization",
    "Proxy-Authorization",
    "X-Authorization",
    "Cookie",
    "Cookie2",
    "Set-Cookie",
    "X-Api-Key",
    "ApiKey",
    "X-Auth",
    "X-Auth-Key",
    "X-Auth-Token",
    "X-Auth-User",
    "X-Access-Token",
    "X-Amz-Security-Token",
    "X-CSRF-Token",
    "Private-Token",
    "X-Client-Secret",
    "X-Secret-Id",
    "X-Session-Id",
    "X-Password",
    "X-Credential",
    "Productlane-Key",
    # who the caller is, and where it came by
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-User",
    "X-Forwarded-Client-Cert",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Originating-IP",
    "X-Remote-Addr",
    "X-Remote-User",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "X-Envoy-External-Address",
    "Via",
    # another host, path or method than the one judged
    "Host",
    "X-Host",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    # what the gateway answers itself, and what programs take for their environment
    "Expect",
    "Proxy",
    "Proxy-Authenticate",
    # underscore twins
    "Content_Length",
    "Transfer_Encoding",
    "X_Api_Key",
    "X_Gateway_Caller",
    "_",
]

UPSTREAM = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Range",
    "Referer",
    "User-Agent",
    "X-Request-Id",
    "baggage",
    "traceparent",
    "tracestate",
]

NEVER_BACK = [
    *FRAMING,
    "Alt-Svc",
    "Clear-Site-Data",
    "Proxy-Authenticate",
    "Public-Key-Pins",
    "Set-Cookie",
    "Set-Cookie2",
    "Strict-Transport-Security",
]

BACK = [
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "Date",
    "ETag",
    "Location",
    "Retry-After",
    "Server",
    "Vary",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
]

# Printable, as aiohttp hands values over: bytes that are not UTF-8 stand as lone surrogates.
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xDCFF, exclude_characters="\x7f,"), max_size=12)


def in_any_case(names: list[str]) -> st.SearchStrategy[str]:
    """One of the names, with each letter in either case."""
    return st.sampled_from(names).flatmap(
        lambda name: st.tuples(*(st.sampled_from(sorted({c.lower(), c.upper()})) for c in name)).map("".join)
    )


@pytest.mark.parametrize("name", NEVER_UPSTREAM)
def test_what_a_caller_could_use_to_speak_for_another_stays_behind(name: str, secret: Secret) -> None:
    """Hop-by-hop fields, credentials, cookies, forwarding and override fields of a caller never reach Productlane."""
    for spelling in (name, name.lower(), name.upper()):
        assert [("A", "1"), *OURS] == request_headers([(spelling, "x"), ("A", "1")], secret)


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_belongs_to_the_request_goes_upstream(name: str, secret: Secret) -> None:
    """Content, conditions, tracing and the client's own name cross as they were written."""
    assert [(name, " kept é\udcff"), *OURS] == request_headers([(name, " kept é\udcff")], secret)


@pytest.mark.parametrize("name", NEVER_BACK)
def test_what_speaks_of_the_upstreams_host_does_not_come_back(name: str) -> None:
    """No cookie is shared between callers, and a caller's client takes nothing of Productlane's for the gateway's."""
    for spelling in (name, name.lower(), name.upper()):
        assert [("A", "1")] == response_headers([(spelling, "x"), ("A", "1")])


@pytest.mark.parametrize("name", BACK)
def test_what_belongs_to_the_answer_comes_back(name: str) -> None:
    """Limits, request id, caching, redirects and challenges of Productlane reach the caller unchanged."""
    assert [(name, "kept é\udcff")] == response_headers([(name, "kept é\udcff")])


@pytest.mark.parametrize(
    ("connection", "kept"),
    [
        (["close"], ["A", "B", "a"]),
        (["A"], ["B"]),
        (["a"], ["B"]),
        (["close, A"], ["B"]),
        ([" \tA\t, close"], ["B"]),
        (["close", "b"], ["A", "a"]),
        (["A,B"], []),
        (["", ",,"], ["A", "B", "a"]),
        (["A;q=1"], ["A", "B", "a"]),
        (["Authorization, Via, Host"], ["A", "B", "a"]),
    ],
)
def test_what_connection_names_stays_on_its_hop(connection: list[str], kept: list[str], secret: Secret) -> None:
    """RFC 9110 section 7.6.1: fields named in ``Connection`` go no further, but the key and ``Via`` are never lost."""
    fields = [("A", "1"), ("B", "2"), *(("Connection", value) for value in connection), ("a", "3")]
    names = [name for name, _ in request_headers(fields, secret)]

    assert [*kept, "Via", "Authorization"] == names
    assert kept == [name for name, _ in response_headers(fields)]


@pytest.mark.parametrize("name", ["traceparent", "TraceParent", "tracestate", "TRACESTATE"])
def test_a_trace_of_the_gateways_own_takes_the_callers_place(name: str, secret: Secret) -> None:
    """Where the gateway has spans, a request has no second trace; what a caller gives its own code to carry stays."""
    fields = [("A", "1"), (name, "x"), ("baggage", "b")]

    assert [("A", "1"), ("baggage", "b"), *OURS] == request_headers(fields, secret, traced=True)


def test_the_key_is_attached_where_there_was_no_credential(secret: Secret) -> None:
    """A caller without any field is forwarded with the key, and with exactly one."""
    assert OURS == request_headers([], secret)
    assert OURS == request_headers([("Authorization", "Bearer a"), ("authorization", "Basic b")], secret)


@given(st.lists(st.tuples(in_any_case(NEVER_UPSTREAM + UPSTREAM), values)))
def test_the_rules_hold_in_any_letter_case_order_and_number(fields: list[tuple[str, str]]) -> None:
    """However a caller spells, mixes and repeats its fields, those that may cross do in order, and no other does."""
    allowed = {name.lower() for name in UPSTREAM}
    named = {value.strip().lower() for name, value in fields if name.lower() == "connection"}

    crossed = request_headers(fields, Secret("pl_v2_abcd1234efgh5678"))

    assert [*((n, v) for n, v in fields if n.lower() in allowed - named), *OURS] == crossed


@given(st.lists(st.tuples(in_any_case(NEVER_BACK + BACK), values)))
def test_the_rules_of_answers_hold_in_any_letter_case_order_and_number(fields: list[tuple[str, str]]) -> None:
    """The same for the fields of an answer, whatever the upstream or a host in front of it sends."""
    allowed = {name.lower() for name in BACK}
    named = {value.strip().lower() for name, value in fields if name.lower() == "connection"}

    assert [(n, v) for n, v in fields if n.lower() in allowed - named] == response_headers(fields)


@pytest.mark.parametrize(
    "via",
    [
        "1.1 productlane-gateway",
        "1.0 a, 1.1 productlane-gateway",
        "1.1 Productlane-Gateway (x)",
        "HTTP/1.1 productlane-gateway",
    ],
)
def test_a_loop_is_refused(via: str) -> None:
    """An upstream that leads back to the gateway gives one 508 instead of a storm, with the setting to correct."""
    with pytest.raises(Refused) as caught:
        check_request_headers([("a", "b"), ("via", via)])

    assert (Code.LOOP_DETECTED, Reason.LOOP) == (caught.value.code, caught.value.reason)
    assert "upstream.url" in caught.value.note


@pytest.mark.parametrize("fields", [[], [("Via", "1.1 proxy")], [("X-Via", "1.1 productlane-gateway")], [("Via", "")]])
def test_another_proxy_is_no_loop(fields: list[tuple[str, str]]) -> None:
    """Requests that came by other proxies, or that only speak of this one elsewhere, are served."""
    check_request_headers(fields)
