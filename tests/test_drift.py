"""`gateway.admin.drift`: which scopes a key lacks, and which it carries for nobody."""

from datetime import date

from gateway.admin.drift import Drift, drift, needs
from gateway.core.catalog import Endpoint, Lane
from gateway.core.policy import Policy
from gateway.core.routing import Route, Routes

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


def scopes(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_keys_that_fit_their_policies_have_no_drift() -> None:
    """Where every granted endpoint has a key and every scope a use, there is nothing to say."""
    policy = Policy("billing", scopes("threads:read"))

    assert {"main": Drift(scopes(), scopes()), "spare": Drift(scopes(), scopes())} == of(
        policy, main=scopes("threads:read"), spare=scopes("threads:read")
    )


def test_a_scope_is_missing_where_no_key_of_the_route_carries_the_endpoint() -> None:
    """Two scopes on two keys do not make one request possible; each key is told what it lacks."""
    policy = Policy("billing", scopes("contacts:read", "issues:read"))

    assert {
        "main": Drift(scopes("issues:read"), scopes()),
        "spare": Drift(scopes("contacts:read"), scopes()),
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
