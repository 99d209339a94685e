"""`gateway.core.catalog`: the endpoint of a target, checked against comparing every template in turn."""

import re
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import NOWHERE, Catalog, Endpoint, Lane, plain
from gateway.core.decision import ask, decide
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.routing import Route, Routes
from gateway.core.rule import Ask
from gateway.core.target import read_target

TODAY = date(2026, 11, 24)

METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "TRACE", "get"]

GUARDED = {
    "POST /changelogs/{id}/broadcast",
    "POST /companies/{id}/merge",
    "POST /docs/drafts/{id}/accept",
    "POST /files/import",
    "POST /webhooks",
    "PATCH /members/{user_id}",
    "DELETE /members/{user_id}",
    "POST /members/invites",
    "DELETE /members/invites/{id}",
}


def segments(catalog: Catalog) -> st.SearchStrategy[str]:
    """Literals of the API, near misses of them, and ids."""
    literals = sorted({s for e in catalog.endpoints for s in e.segments if not s.startswith("{")})
    near = st.sampled_from([lambda s: s.upper(), lambda s: s.title(), lambda s: s + "x", lambda s: s[:-1]])
    return st.one_of(
        st.sampled_from(literals),
        st.builds(lambda change, s: change(s), near, st.sampled_from(literals)),
        st.from_regex(r"[A-Za-z0-9_~-]{1,12}", fullmatch=True),
    )


def find(catalog: Catalog, method: str, path: str) -> Endpoint | tuple[Code, str]:
    """The result for a path below ``/api/v2``: an endpoint, or the code and ``Allow`` of its refusal."""
    try:
        return decide(asking(catalog, method, "/api/v2" + path)).endpoint
    except Refused as refused:
        return refused.code, dict(refused.headers).get("Allow", "")


def asking(catalog: Catalog, method: str, raw: str) -> Ask:
    """What the rules look at for a caller that may do anything, with one route for all."""
    policy = Policy("app", endpoints=frozenset(catalog.endpoints))
    return ask(read_target(method, raw), policy, catalog, Routes([Route("/**", ("k",))], catalog.endpoints), TODAY)


def refused(catalog: Catalog, method: str, raw: str) -> Refused:
    """The refusal that a target meets."""
    with pytest.raises(Refused) as caught:
        decide(asking(catalog, method, raw))
    return caught.value


def find_slowly(catalog: Catalog, method: str, path: str) -> Endpoint | tuple[Code, str]:
    """The same by comparing segment by segment with every template: at each place, those with the literal win."""
    parts = path[1:].split("/")
    left = list(catalog.endpoints)
    for i, part in enumerate(parts):
        left = [e for e in left if len(e.segments) > i]
        literal = [e for e in left if e.segments[i] == part]
        alike = [e for e in left if e.segments[i].lower() == part.lower()]
        left = literal or ([] if alike else [e for e in left if e.segments[i].startswith("{")])
    left = [e for e in left if len(e.segments) == len(parts)]
    if not left:
        return Code.NOT_FOUND, ""
    for endpoint in left:
        if endpoint.method == ("GET" if method == "HEAD" else method):
            return endpoint
    methods = {e.method for e in left}
    return Code.METHOD_NOT_ALLOWED, ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def test_the_whole_api_is_known(catalog: Catalog) -> None:
    """All 99 endpoints and all 23 scopes are there, and no endpoint needs a scope that does not exist."""
    assert 99 == len(catalog.endpoints) == len({plain(e.name) for e in catalog.endpoints})
    assert 23 == len(catalog.scopes)
    assert set(catalog.scopes) == frozenset().union(*(e.scopes for e in catalog.endpoints))


def test_three_reads_need_two_scopes(catalog: Catalog) -> None:
    """A contact's companies, issues and projects need the scopes of both; every other endpoint needs at most one."""
    two = {e.name: e.scopes for e in catalog.endpoints if len(e.scopes) > 1}

    assert {
        "GET /contacts/{id}/companies": {"contacts:read", "companies:read"},
        "GET /contacts/{id}/issues": {"contacts:read", "issues:read"},
        "GET /contacts/{id}/projects": {"contacts:read", "projects:read"},
    } == two
    assert ["GET /me"] == [e.name for e in catalog.endpoints if not e.scopes]


def test_what_cannot_be_undone_is_guarded(catalog: Catalog) -> None:
    """Broadcast, merge, accept, import, webhooks and every change to members are guarded, and nothing else is."""
    assert GUARDED == {e.name for e in catalog.endpoints if e.guarded}


def test_each_endpoint_has_the_lane_of_its_budget(catalog: Catalog) -> None:
    """Reads spend the read budget, uploads their own and everything else the write budget."""
    lanes = {e.name: e.lane for e in catalog.endpoints}

    assert Lane.UPLOAD is lanes.pop("POST /files")
    assert all((lane is Lane.READ) == name.startswith("GET ") for name, lane in lanes.items())
    assert Lane.UPLOAD not in lanes.values()


def test_each_endpoint_is_found_by_a_path_of_its_own(catalog: Catalog) -> None:
    """Whatever the ids are, each of the 99 endpoints serves its paths, and HEAD is served as GET."""
    for endpoint in catalog.endpoints:
        path = re.sub(r"\{[^}]*\}", "Ab_1-2.3~4", endpoint.template)

        assert endpoint == find(catalog, endpoint.method, path)
        assert endpoint.method != "GET" or endpoint == find(catalog, "HEAD", path)


def test_an_endpoint_is_named_as_in_a_policy(catalog: Catalog) -> None:
    """A policy may use any name for an id, but must spell method and path as the API does."""
    found = catalog.named("POST /companies/{company}/merge")

    assert found is not None
    assert "POST /companies/{id}/merge" == found.name
    for name in (
        "post /companies/{id}/merge",
        "POST /companies/c_1/merge",
        "POST /companies/{id}/merge/",
        "HEAD /me",
        "",
    ):
        assert catalog.named(name) is None


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/contacts/by-email", "GET /contacts/by-email"),
        ("GET", "/contacts/by-emails", "GET /contacts/{id}"),
        ("DELETE", "/contacts/by-email", (Code.METHOD_NOT_ALLOWED, "GET, HEAD")),
        ("GET", "/contacts/By-Email", (Code.NOT_FOUND, "")),
        ("POST", "/docs/articles/MOVE", (Code.NOT_FOUND, "")),
        ("GET", "/contacts/by-email/companies", (Code.NOT_FOUND, "")),
        ("PUT", "/threads/t_1", (Code.METHOD_NOT_ALLOWED, "DELETE, GET, HEAD, PATCH")),
        ("POST", "/me", (Code.METHOD_NOT_ALLOWED, "GET, HEAD")),
        ("HEAD", "/webhooks", (Code.METHOD_NOT_ALLOWED, "POST")),
        ("TRACE", "/me", (Code.METHOD_NOT_ALLOWED, "GET, HEAD")),
        ("get", "/me", (Code.METHOD_NOT_ALLOWED, "GET, HEAD")),
        ("GET", "", (Code.NOT_FOUND, "")),
        ("GET", "/Threads", (Code.NOT_FOUND, "")),
        ("GET", "/docs", (Code.NOT_FOUND, "")),
        ("GET", "/threads/t_1/messages/m_1", (Code.NOT_FOUND, "")),
        ("GET", "/metrics", (Code.NOT_FOUND, "")),
    ],
)
def test_a_path_leads_to_one_endpoint_or_none(
    catalog: Catalog, method: str, path: str, found: str | tuple[Code, str]
) -> None:
    """Literals win over ids, a wrong method gets the right ones listed, and nothing outside the catalog is served."""
    outcome = find(catalog, method, path)

    assert found == (outcome.name if isinstance(outcome, Endpoint) else outcome)


@pytest.mark.parametrize(
    "raw", ["/me", "/api", "/api/v3/me", "/api/v2x/me", "/API/v2/me", "/api/V2/me", "/apiv2/me", "/v2/me"]
)
def test_only_the_api_itself_is_served(catalog: Catalog, raw: str) -> None:
    """Nothing beside ``/api/v2``, whole and in its own letter case, is ever forwarded."""
    found = refused(catalog, "GET", raw)

    assert (Code.NOT_FOUND, Reason.ENDPOINT_UNKNOWN) == (found.code, found.reason)


@pytest.mark.parametrize(
    ("method", "path", "replacement"),
    [
        ("GET", "/threads/t_1", "GET /api/v2/threads/{id}?expand=messages,comments"),
        ("HEAD", "/threads/t_1", "GET /api/v2/threads/{id}?expand=messages,comments"),
        ("POST", "/threads", "POST /api/v2/threads"),
        ("GET", "/companies/by-external-id/w_1/e_1", "GET /api/v2/companies?external_id="),
        ("GET", "/companies/by-external-id/w_1/cus:42", "GET /api/v2/companies?external_id="),
        ("GET", "/contacts/ada@example.com", "GET /api/v2/contacts/{id} or GET /api/v2/contacts/by-email?email="),
        ("GET", "/threads", "GET /api/v2/threads (fields and paging differ)"),
        ("PATCH", "/companies/c_1", "PATCH /api/v2/companies/{id} (fields and paging differ)"),
        ("DELETE", "/threads/t_1", "DELETE /api/v2/threads/{id} (fields and paging differ)"),
        ("DELETE", "/threads", None),
        ("GET", "/nothing/of/the/kind", None),
        ("GET", "", None),
    ],
)
def test_version_1_is_gone_and_its_successor_named(
    catalog: Catalog, method: str, path: str, replacement: str | None
) -> None:
    """A client that still calls v1 gets 410 with the endpoint in its place: of the migration guide, or its twin."""
    found = refused(catalog, method, "/api/v1" + path)

    assert (Code.UNSUPPORTED_API_VERSION, Reason.API_VERSION) == (found.code, found.reason)
    assert ({"replacement": replacement} if replacement else None) == found.details
    assert (replacement is not None) == found.note.endswith(f"use {replacement} instead")


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("/threads", "/api/v2/threads"),
        ("/v2/threads/t_1", "/api/v2/threads/t_1"),
        ("/api/v3/companies", "/api/v2/companies"),
        ("/api/v2/thread", "/api/v2/threads"),
        ("/api/v2/Threads", "/api/v2/threads"),
        ("/api/v2/threads/t_1/mesages", "/api/v2/threads/t_1/messages"),
        ("/metrics", None),
        ("/api/v2/nothing/of/the/kind", None),
        ("/", None),
    ],
)
def test_a_path_near_a_known_one_is_told_which(catalog: Catalog, raw: str, meant: str | None) -> None:
    """A path without the base, or with a misspelled segment, gets a hint with the path that was meant."""
    note = refused(catalog, "GET", raw).note

    assert (meant is not None) == note.endswith(f"use {meant}, if that is what you mean")


def test_a_method_in_small_letters_is_told_so(catalog: Catalog) -> None:
    """Methods are case-sensitive (RFC 9110 section 9.1), and the answer says so in place of "not allowed"."""
    assert refused(catalog, "get", "/api/v2/threads").note.endswith("write the method in capitals: GET")
    assert refused(catalog, "PUT", "/api/v2/threads").note.endswith("use GET, HEAD, POST")


def test_of_two_endpoints_with_one_name_the_later_stands() -> None:
    """An overlay that redefines an endpoint replaces it everywhere, whatever it calls the id."""
    old = Endpoint("GET", "/a/{id}", frozenset({"a:read"}), Lane.READ)
    new = replace(old, template="/a/{a_id}", scopes=frozenset({"b:read"}))

    catalog = Catalog([old, new], {})

    assert (new,) == catalog.endpoints
    assert new == catalog.named("GET /a/{id}")
    assert new == catalog.find(read_target("GET", "/api/v2/a/1"))
    assert NOWHERE == catalog.find(read_target("POST", "/api/v2/a/1"))


def test_v1_successors_are_kept_apart_by_method_and_path() -> None:
    """One v1 path can have a successor for each method, and a path of equal length has its own."""
    replacements = {("GET", "/a/{id}"): "one", ("POST", "/a/{id}"): "two", ("GET", "/b/{id}"): "three"}
    catalog = Catalog([], {}, replacements)

    assert "one" == catalog.replacement(read_target("GET", "/api/v1/a/1"))
    assert "two" == catalog.replacement(read_target("POST", "/api/v1/a/1"))
    assert "three" == catalog.replacement(read_target("GET", "/api/v1/b/1"))


def test_an_endpoint_is_equal_only_with_all_its_facts() -> None:
    """A grant of an endpoint covers only that endpoint as the catalog describes it."""
    endpoint = Endpoint("GET", "/a", frozenset({"a:read"}), Lane.READ)

    assert hash(endpoint) == hash(replace(endpoint))
    assert endpoint == replace(endpoint)
    for other in (
        replace(endpoint, method="POST"),
        replace(endpoint, template="/b"),
        replace(endpoint, scopes=frozenset()),
        replace(endpoint, lane=Lane.WRITE),
        replace(endpoint, guarded=True),
    ):
        assert endpoint != other


@given(data=st.data(), method=st.sampled_from(METHODS))
def test_the_tree_agrees_with_the_list(catalog: Catalog, data: st.DataObject, method: str) -> None:
    """The fast look-up finds what comparing with all 99 templates finds, and refuses what that refuses."""
    path = "/" + "/".join(data.draw(st.lists(segments(catalog), min_size=1, max_size=4)))

    assert find_slowly(catalog, method, path) == find(catalog, method, path)


@given(data=st.data(), method=st.sampled_from(METHODS))
def test_the_tree_agrees_with_the_list_near_the_api(catalog: Catalog, data: st.DataObject, method: str) -> None:
    """The same for paths that are one segment away from an endpoint's own."""
    endpoint = data.draw(st.sampled_from(catalog.endpoints))
    parts = [data.draw(segments(catalog)) if s.startswith("{") else s for s in endpoint.segments]
    place = data.draw(st.integers(0, len(parts)))
    parts[place : place + data.draw(st.integers(0, 1))] = data.draw(st.lists(segments(catalog), max_size=1))
    path = "/" + "/".join(parts or ["x"])

    assert find_slowly(catalog, method, path) == find(catalog, method, path)


@given(data=st.data(), method=st.sampled_from(METHODS))
def test_letter_case_never_leads_elsewhere(catalog: Catalog, data: st.DataObject, method: str) -> None:
    """A server that ignores letter case reads an accepted path as the endpoint that was judged, and as no other."""
    path = "/" + "/".join(data.draw(st.lists(segments(catalog), min_size=1, max_size=4)))
    found = find(catalog, method, path)

    assert not isinstance(found, Endpoint) or found == find(catalog, method, path.lower())
