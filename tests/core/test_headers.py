"""`gateway.core.headers`: which fields cross, in either direction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.field_rules import FIELD_CLASSES, Rules, answer_rules, field_class, never_crosses, request_rules
from gateway.core.headers import check_via, upstream_fields, upstream_lines, walk
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.secret import Secret

KEY = "pl_v2_abcd1234efgh5678"
REQUESTS = request_rules(["A", "B"])
ANSWERS = answer_rules(["A", "B"])

# The names of fields, by what becomes of them and why.
FIELDS = {
    "framing": """
        Connection Content-Length HTTP2-Settings Keep-Alive Proxy-Connection TE Trailer Transfer-Encoding
        Upgrade
    """,
    "to the upstream": """
        Accept Accept-Encoding Accept-Language Content-Disposition Content-Encoding Content-Type
        Idempotency-Key If-Match If-None-Match If-Modified-Since User-Agent X-Correlation-Id X-Request-Id
        baggage traceparent tracestate
    """,
    "back to the caller": """
        Cache-Control Content-Encoding Content-Type Date ETag Link Location RateLimit-Policy Retry-After
        Server Vary WWW-Authenticate X-Productlane-Version X-RateLimit-Limit X-RateLimit-Remaining
        X-RateLimit-Reset X-Request-Id
    """,
    "never back": """
        Accept-Ranges Access-Control-Allow-Origin Access-Control-Expose-Headers Alt-Svc Clear-Site-Data
        Proxy-Authenticate Proxy-Status Public-Key-Pins Refresh Set-Cookie Set-Cookie2
        Strict-Transport-Security X-Accel-Redirect X-Powered-By X-Sendfile X-Vercel-Id
    """,
}
NEVER_UPSTREAM_BY_KIND = {
    "credentials and sessions": """
        Authorization Proxy-Authorization X-Authorization Cookie Cookie2 Set-Cookie X-Api-Key ApiKey X-Auth
        X-Auth-Token X-Amz-Security-Token X-CSRF-Token X-Client-Secret X-Session-Id Productlane-Key
    """,
    "who the caller is, and where it came by": """
        Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-User X-Real-IP X-Client-IP Client-IP
        X-Originating-IP X-Remote-User True-Client-IP CF-Connecting-IP X-Envoy-External-Address X-User X-User-Id
        X-Workspace-Id X-Tenant-Id X-Impersonate-User X-On-Behalf-Of X-Ms-Client-Principal
        X-Goog-Authenticated-User-Email X-Amzn-Oidc-Identity CDN-Loop Via
    """,
    "another host, path or method than the one judged, as frameworks and platforms read them": """
        Host X-Host X-Original-URL X-Rewrite-URL X-Override-URL X-URL X-URI X-Path X-Method
        X-HTTP-Method-Override X-Matched-Path X-Invoke-Path X-Invoke-Query X-Middleware-Subrequest
        X-Middleware-Rewrite X-Nextjs-Data X-Now-Route-Matches X-Vercel-Forwarded-For RSC Next-Router-State-Tree
        Next-Action
    """,
    "what would cut an answer into slices in which nothing is recognised": "Range If-Range",
    "what caches, browsers and programs take for theirs": "Cache-Control Referer Origin Sec-Fetch-Site Proxy",
    "what the gateway answers itself": "Expect",
    "underscore twins": "Content_Length X_Api_Key Content_Type _",
}
FRAMING, UPSTREAM, BACK = (FIELDS[kind].split() for kind in ("framing", "to the upstream", "back to the caller"))
NEVER_UPSTREAM = FRAMING + " ".join(NEVER_UPSTREAM_BY_KIND.values()).split()
NEVER_BACK = FRAMING + FIELDS["never back"].split()

# Printable, as they are decoded from UTF-8.
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xD7FF, exclude_characters="\x7f,"), max_size=12)


def crossing(fields: list[tuple[str, str]], rules: Rules) -> list[tuple[str, str]]:
    """The fields that cross, out of one walk over them."""
    given = [f"{name}: {value}".encode("utf-8", "surrogateescape") for name, value in fields]
    lines = (line.decode("utf-8", "surrogateescape").partition(": ") for line in walk(given, rules).lines)
    return [(name, value) for name, _, value in lines]


def in_any_case(names: list[str]) -> st.SearchStrategy[str]:
    """One of the names, with each letter in either case."""
    return st.sampled_from(names).flatmap(
        lambda name: st.tuples(*(st.sampled_from(sorted({c.lower(), c.upper()})) for c in name)).map("".join)
    )


@pytest.mark.parametrize("name", NEVER_UPSTREAM)
def test_what_a_caller_could_use_to_speak_for_another_stays_behind(name: str) -> None:
    """Hop-by-hop fields, credentials, cookies, forwarding and override fields of a caller never reach Productlane."""
    for spelling in (name, name.lower(), name.upper()):
        assert [("A", "1")] == crossing([(spelling, "x"), ("A", "1")], REQUESTS)


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_belongs_to_the_request_goes_upstream(name: str) -> None:
    """Content, conditions, tracing and the client's own name cross as they were written."""
    assert [(name, " kept é\udcff")] == crossing([(name, " kept é\udcff")], REQUESTS)


@pytest.mark.parametrize("name", NEVER_BACK)
def test_what_speaks_of_the_upstreams_host_does_not_come_back(name: str) -> None:
    """No cookie is shared between callers, and a caller's client takes nothing of Productlane's for the gateway's."""
    for spelling in (name, name.lower(), name.upper()):
        assert [("A", "1")] == crossing([(spelling, "x"), ("A", "1")], ANSWERS)


@pytest.mark.parametrize("name", BACK)
def test_what_belongs_to_the_answer_comes_back(name: str) -> None:
    """Limits, request id, caching, redirects and challenges of Productlane reach the caller unchanged."""
    assert [(name, "kept é\udcff")] == crossing([(name, "kept é\udcff")], ANSWERS)


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
def test_what_connection_names_stays_on_its_hop(connection: list[str], kept: list[str]) -> None:
    """RFC 9110 section 7.6.1: fields named in ``Connection`` go no further."""
    fields = [("A", "1"), ("B", "2"), *(("Connection", value) for value in connection), ("a", "3")]

    assert kept == [name for name, _ in crossing(fields, REQUESTS)]
    assert kept == [name for name, _ in crossing(fields, ANSWERS)]


@pytest.mark.parametrize("name", ["traceparent", "TraceParent", "tracestate", "TRACESTATE"])
def test_a_trace_of_the_gateways_own_takes_the_callers_place(name: str) -> None:
    """With spans of the gateway's own the caller's trace headers are replaced; its baggage stays."""
    fields = [("A", "1"), (name, "x"), ("baggage", "b")]

    assert [("A", "1"), ("baggage", "b")] == crossing(fields, request_rules(["A"], traced=True))


def test_a_named_field_crosses_and_its_kin_do_not() -> None:
    """A header named in the settings passes in any letter case; similar names do not."""
    fields = [("X-Team", "1"), ("x-TEAM", "2"), ("X-Team-Id", "3"), ("X_Team", "4"), ("XX-Team", "5")]

    assert fields[:2] == crossing(fields, request_rules(["x-team"]))
    assert fields[:2] == crossing(fields, answer_rules(["X-Team"]))


@pytest.mark.parametrize("name", ["Host", "content-length", "TE", "Authorization", "Cookie", "Set-Cookie", "Via"])
def test_no_setting_lets_these_cross(name: str) -> None:
    """What routes or frames a message, or is a credential of the hop, stays behind whatever is configured."""
    assert never_crosses(name)
    assert not never_crosses("X-Team")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"X-Api-Key", "credential"),
        (b"COOKIE", "credential"),
        (b"X-Forwarded-For", "forwarding"),
        (b"True-Client-IP", "forwarding"),
        (b"X_Underscore", "underscore"),
        (b"Range", "range"),
        (b"X-Matched-Path", "other"),
    ],
)
def test_a_refused_field_has_a_class(name: bytes, kind: str) -> None:
    """Refused names are counted by a closed list of classes, and listed by the walk as they were written."""
    assert kind == field_class(name)
    assert kind in FIELD_CLASSES
    assert [name] == walk([b"Accept: a", name + b": b"], REQUESTS).refused


def test_every_request_carries_the_key_and_the_gateways_name(secret: Secret) -> None:
    """``/me`` and forwarded requests say the same of themselves, as fields and as the lines of a head."""
    assert [("Via", "1.1 productlane-gateway"), ("Authorization", f"Bearer {KEY}")] == upstream_fields(secret)
    assert f"Via: 1.1 productlane-gateway\r\nAuthorization: Bearer {KEY}\r\n".encode() == upstream_lines(secret)


def test_what_is_read_is_read_whole_and_names_are_not_remembered() -> None:
    """The values of fields that the gateway reads come in their order; names of callers cost no memory."""
    rules = request_rules()
    known = len(rules)
    walked = walk([b"AUTHORIZATION: a", b"x-%d: b" % known, b"authorization: c"], rules)

    assert [b"a", b"c"] == walked.read[b"authorization"]
    assert known == len(rules)


@given(st.lists(st.tuples(in_any_case(NEVER_UPSTREAM + UPSTREAM), values)))
def test_the_rules_hold_in_any_letter_case_order_and_number(fields: list[tuple[str, str]]) -> None:
    """However a caller spells, mixes and repeats its fields, those that may cross do in order, and no other does."""
    allowed = {name.lower() for name in UPSTREAM}
    named = {value.strip().lower() for name, value in fields if name.lower() == "connection"}

    assert [(n, v) for n, v in fields if n.lower() in allowed - named] == crossing(fields, REQUESTS)


@given(st.lists(st.tuples(in_any_case(NEVER_BACK + BACK), values)))
def test_the_rules_of_answers_hold_in_any_letter_case_order_and_number(fields: list[tuple[str, str]]) -> None:
    """The same for the fields of an answer, whatever the upstream or a host in front of it sends."""
    allowed = {name.lower() for name in BACK}
    named = {value.strip().lower() for name, value in fields if name.lower() == "connection"}

    assert [(n, v) for n, v in fields if n.lower() in allowed - named] == crossing(fields, ANSWERS)


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
        check_via([b"1.1 other", via.encode()])

    assert (Code.LOOP_DETECTED, Reason.LOOP) == (caught.value.code, caught.value.reason)
    assert "upstream.url" in caught.value.note


@pytest.mark.parametrize("values", [[], [b"1.1 proxy"], [b""], [b"1.0 a", b"1.1 b (c)"]])
def test_another_proxy_is_no_loop(values: list[bytes]) -> None:
    """Requests that came by other proxies are served."""
    check_via(values)
