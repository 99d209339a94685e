"""`gateway.core.drift`: which scopes a key lacks, and which scopes no caller needs."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Endpoint, Lane
from gateway.core.decision import Permit, decide
from gateway.core.drift import Drift, drift, needs
from gateway.core.policy import Policy
from gateway.core.refusal import Refused
from gateway.core.routing import Route, Routes
from gateway.core.rule import Ask

TODAY = date(2026, 11, 24)
ME = Endpoint("GET", "/me", frozenset(), Lane.READ)
READ = Endpoint("GET", "/threads", frozenset({"threads:read"}), Lane.READ)
WRITE = Endpoint("POST", "/threads", frozenset({"threads:write"}), Lane.WRITE)
BOTH = Endpoint("GET", "/contacts/{id}/issues", frozenset({"contacts:read", "issues:read"}), Lane.READ)
MERGE = Endpoint("POST", "/companies/{id}/merge", frozenset({"companies:write"}), Lane.WRITE, guarded=True)
ENDPOINTS = (ME, READ, WRITE, BOTH, MERGE)

ONE = Routes([Route("/**", ("main", "spare"))], ENDPOINTS)
SPLIT = Routes([Route("/threads", ("main",)), Route("/**", ("spare",))], ENDPOINTS)


def of(policy: Policy, routes: Routes = ONE, **held: frozenset[str] | None) -> dict[str, Drift]:
    return drift(needs([policy], routes, ENDPOINTS, TODAY), held)


def of_many(policies: list[Policy], routes: Routes = ONE, **held: frozenset[str] | None) -> dict[str, Drift]:
    """The same for several callers, with the catalog's scopes known."""
    catalog = frozenset[str]().union(*(endpoint.scopes for endpoint in ENDPOINTS))
    return drift(needs(policies, routes, ENDPOINTS, TODAY), held, catalog)


def scopes(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_keys_that_fit_their_policies_have_no_drift() -> None:
    """Where every granted endpoint has a key and every scope a use, there is nothing to say."""
    policy = Policy("billing", scopes("threads:read"))

    assert {"main": Drift(scopes(), scopes()), "spare": Drift(scopes(), scopes())} == of(
        policy, main=scopes("threads:read"), spare=scopes("threads:read")
    )


def test_a_scope_is_missing_where_no_key_of_the_route_carries_the_endpoint() -> None:
    """Two scopes on two keys do not make one request possible; the report says what each key lacks."""
    policy = Policy("billing", scopes("contacts:read", "issues:read"))

    assert {
        "main": Drift(scopes("issues:read"), scopes(), unserved=("GET /contacts/{id}/issues for billing",)),
        "spare": Drift(scopes("contacts:read"), scopes(), unserved=("GET /contacts/{id}/issues for billing",)),
    } == of(policy, main=scopes("contacts:read"), spare=scopes("issues:read"))


def test_one_key_that_carries_it_is_enough() -> None:
    """A key need not carry what another one of its route does."""
    policy = Policy("billing", scopes("threads:read"))

    assert Drift(scopes(), scopes()) == of(policy, main=scopes(), spare=scopes("threads:read"))["main"]


def test_what_is_not_known_is_not_called_missing() -> None:
    """While one key of a route is unknown, it may be the one that carries the scope."""
    policy = Policy("billing", scopes("threads:read"))

    assert {"main": Drift(scopes(), scopes())} == of(policy, main=scopes(), spare=None)


def test_excess_is_what_no_policy_reaches_through_a_route() -> None:
    """A scope that no policy grants, or grants only through another key, is one to take from the key."""
    policy = Policy("billing", scopes("threads:read", "threads:write"), deny=frozenset({WRITE}))
    both = scopes("threads:read", "threads:write")

    assert {
        "main": Drift(scopes(), scopes("threads:write")),
        "spare": Drift(scopes(), both),
    } == of(policy, SPLIT, main=both, spare=both)


def test_only_what_is_granted_is_needed() -> None:
    """A guarded endpoint counts when it is named; audit alone, an ended grant and a path without a route do not."""
    carried = scopes("companies:write")
    unused, used = Drift(scopes(), carried), Drift(scopes(), scopes())
    only_threads = Routes([Route("/threads", ("main",))], ENDPOINTS)
    named = Policy("a", endpoints=frozenset({MERGE}))

    assert unused == of(Policy("a", carried), main=carried)["main"]
    assert unused == of(Policy("a", audit=True), main=carried)["main"]
    assert unused == of(Policy("a", endpoints=frozenset({MERGE}), expires=TODAY), main=carried)["main"]
    assert unused == of(named, only_threads, main=carried)["main"]
    assert used == of(named, main=carried)["main"]


def test_a_scope_that_no_endpoint_asks_for_is_unknown() -> None:
    """A scope that this version does not know (new or mistyped) is reported apart from an unused scope."""
    policy = Policy("billing", scopes("threads:read"))
    main = of_many([policy], main=scopes("threads:read", "threads:write", "loyalty:read"))["main"]

    assert (scopes("loyalty:read"), scopes("threads:write", "loyalty:read")) == (main.unknown, main.excess)
    assert scopes() == of(policy, main=scopes("loyalty:read"))["main"].unknown


READER = Policy("reader", scopes("threads:read"))
WRITER = Policy("writer", scopes("threads:write"))
BOTH_OF_THEM = Policy("both", scopes("threads:read", "threads:write"))


def test_a_key_is_wide_where_no_caller_needs_all_that_is_used_of_it() -> None:
    """Two callers that share a key without sharing its scopes could each do with a narrower one."""
    held = scopes("threads:read", "threads:write")

    assert of_many([READER, WRITER], main=held)["main"].wide
    assert not of_many([READER, WRITER, BOTH_OF_THEM], main=held)["main"].wide
    assert not of_many([READER, READER], main=held)["main"].wide
    assert not of_many([READER, WRITER], main=scopes("threads:read"))["main"].wide
    assert not of_many([], main=held)["main"].wide


def test_what_a_caller_needs_of_another_key_widens_none() -> None:
    """Only requests that a route sends to a key count for it."""
    routes = Routes(
        [Route("/**", ("main",)), Route("/**", ("spare",), callers=frozenset({"writer"}))],
        ENDPOINTS,
    )
    found = of_many([READER, WRITER], routes, main=scopes("threads:read"), spare=scopes("threads:write"))

    assert [False, False] == [found[key].wide for key in ("main", "spare")]


def test_what_audit_forwards_is_in_use() -> None:
    """A scope that an audited caller uses is not called unused, and the advice names the caller and the endpoint."""
    audited = Policy("trial", scopes("threads:read"), audit=True)
    main = of(audited, main=scopes("threads:read", "threads:write"))["main"]

    assert (scopes(), ("POST /threads for trial",)) == (main.excess, main.audited)
    assert ["before you narrow it: `mode: audit` lets POST /threads for trial use it"] == main.advice


def test_what_no_key_can_serve_is_named() -> None:
    """Advice to widen a key names the request that fails without it; if another key serves it, there is no advice."""
    policy = Policy("billing", scopes("contacts:read", "issues:read"))
    split = of(policy, main=scopes("contacts:read"), spare=scopes("issues:read"))["main"]

    assert [
        "add issues:read to it in Productlane, or take the grant out of the policies; no key of its route can serve "
        "GET /contacts/{id}/issues for billing"
    ] == split.advice
    assert [] == of(policy, main=scopes(), spare=scopes("contacts:read", "issues:read"))["main"].advice


def test_each_kind_of_drift_says_what_would_mend_it() -> None:
    """The advice says which scopes to add or remove, and where; a key that fits gets no advice."""
    worst = Drift(scopes("a:read"), scopes("b:read", "c:read"), scopes("c:read"), wide=True)

    assert [
        "add a:read to it in Productlane, or take the grant out of the policies",
        "take b:read from it in Productlane; no policy uses that",
        "take c:read from it in Productlane, or name the endpoints that ask for that in a file of `catalog`; this "
        "version knows none",
        "give its callers keys of their own, by routes with `callers`; it carries more than any of them needs",
    ] == worst.advice
    assert [] == Drift(scopes(), scopes()).advice
    assert 1 == len(Drift(scopes(), scopes("c:read"), scopes("c:read")).advice)


# Two endpoints that need the same scopes; a policy may deny one of them.
MORE = (*ENDPOINTS, Endpoint("GET", "/threads/{id}", frozenset({"threads:read"}), Lane.READ))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Policy], Routes]:
    """Some policies, and some routes; some of the routes name callers."""
    grants = st.frozensets(st.sampled_from(MORE), max_size=3)
    words = st.frozensets(st.sampled_from(sorted(frozenset[str]().union(*(e.scopes for e in MORE)))))
    ends = st.sampled_from([None, TODAY, date(2030, 1, 1)])
    callers = ["a", "b", "c"]
    policies = [
        Policy(caller, draw(words), draw(grants), draw(grants), draw(st.booleans()), draw(ends)) for caller in callers
    ]
    paths = st.sampled_from(["/**", "/threads", "/companies/**"])
    keys = st.lists(st.sampled_from(["main", "spare"]), min_size=1, unique=True).map(tuple)
    named = st.frozensets(st.sampled_from(callers), max_size=2)
    return policies, Routes(draw(st.lists(st.builds(Route, paths, keys, named), max_size=4)), MORE)


@given(worlds())
def test_needs_are_those_of_every_permit(world: tuple[list[Policy], Routes]) -> None:
    """What policies ask of keys is what every single permit, but those by audit, asks of the keys of its route."""
    policies, routes = world
    asked = [
        (policy.caller, permit.route.keys, endpoint.scopes)
        for policy in policies
        for endpoint in MORE
        if endpoint.scopes and (permit := _permit(policy, routes, endpoint)) and not permit.would_deny
    ]
    by_caller = {
        (caller, key): scopes().union(*(s for c, keys, s in asked if c == caller and key in keys))
        for caller, names, _ in asked
        for key in names
    }

    found = needs(policies, routes, MORE, TODAY)

    assert {(keys, s) for _, keys, s in asked} == found.endpoints.keys()
    assert {key: {s for (_, k), s in by_caller.items() if k == key} for _, key in by_caller} == found.callers


def _permit(policy: Policy, routes: Routes, endpoint: Endpoint) -> Permit | None:
    try:
        return decide(Ask(policy, endpoint, TODAY, route=routes.find(policy.caller, endpoint)))
    except Refused:
        return None
