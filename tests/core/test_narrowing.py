"""`gateway.core.narrowing`: the least that will do, and nothing that was not granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Endpoint
from gateway.core.comparison import ALLOW, verdict
from gateway.core.narrowing import narrowed, opened_beyond
from gateway.core.policy import Policy
from tests.support.policies import TODAY, endpoints, policies


@pytest.fixture
def named(catalog: Catalog) -> dict[str, Endpoint]:
    """The endpoints by name."""
    return {endpoint.name: endpoint for endpoint in catalog.endpoints}


ROWS = [
    # A scope stays if a used endpoint needs it.
    (["threads:read", "threads:write"], [], [], ["GET /threads"], ["threads:read"], []),
    (["contacts:read", "issues:read"], [], [], ["GET /contacts/{id}/issues"], ["contacts:read", "issues:read"], []),
    (["threads:read"], [], [], [], [], []),
    # An endpoint that is named singly stays if it was used, and brings no scope with it.
    ([], ["GET /threads", "GET /tags"], [], ["GET /threads"], [], ["GET /threads"]),
    (["threads:read"], ["GET /threads"], [], ["GET /threads"], [], ["GET /threads"]),
    # … and is removed if a kept scope covers it.
    (["threads:read"], ["GET /threads"], [], ["GET /threads", "GET /threads/{id}"], ["threads:read"], []),
    # A guarded one is always named, and never becomes so.
    (["webhooks", "admin"], ["POST /webhooks"], [], ["POST /webhooks"], [], ["POST /webhooks"]),
    (["changelogs:write"], [], [], ["POST /changelogs/{id}/broadcast"], [], []),
    # Endpoints that are denied or not granted were used under an older policy.
    (["threads:write"], [], ["DELETE /threads/{id}"], ["DELETE /threads/{id}"], [], []),
    ([], [], [], ["GET /threads"], [], []),
    # Any key will do.
    (["threads:read"], ["GET /me"], [], ["GET /me"], [], []),
]


@pytest.mark.parametrize(("scopes", "single", "deny", "used", "left", "left_single"), ROWS)
def test_what_is_left(
    named: dict[str, Endpoint],
    scopes: list[str],
    single: list[str],
    deny: list[str],
    used: list[str],
    left: list[str],
    left_single: list[str],
) -> None:
    """Scopes and single endpoints are cut to what was used."""
    granted, denied = (frozenset(named[name] for name in names) for names in (single, deny))
    policy = Policy("app", frozenset(scopes), granted, denied)
    found = narrowed(policy, [named[name] for name in used])

    assert (frozenset(left), {named[name] for name in left_single}) == (found.scopes, {*found.endpoints})
    assert policy.deny == found.deny


def test_audited_use_is_granted_if_so_wished(named: dict[str, Endpoint]) -> None:
    """Requests that only audit allowed are granted only on demand, and as narrowly as the rest."""
    policy = Policy("app", frozenset({"threads:read"}), audit=True)
    used, audited = [named["GET /threads"]], [named["GET /companies"]]

    assert {"threads:read"} == narrowed(policy, used).scopes
    assert {"threads:read", "companies:read"} == narrowed(policy, used, audited=audited).scopes
    assert {*used, *audited} == narrowed(policy, used, audited=audited, exact=True).endpoints


def test_exactly_what_was_used(named: dict[str, Endpoint]) -> None:
    """Single endpoints in place of scopes open nothing else; `/me` needs no mention."""
    policy = Policy("app", frozenset({"threads:read", "tags:read"}))
    found = narrowed(policy, [named["GET /threads"], named["GET /me"]], exact=True)

    assert not found.scopes
    assert {named["GET /threads"]} == found.endpoints
    assert frozenset() == opened_beyond(found, [named["GET /threads"]], [*named.values()])


@given(data=st.data())
def test_all_that_was_used_and_no_more(catalog: Catalog, data: st.DataObject) -> None:
    """The narrower policy allows exactly what was used of the old one, with the fewest grants."""
    policy = data.draw(policies(catalog))._replace(audit=False, expires=None)
    some = endpoints(catalog)
    used = data.draw(st.lists(st.sampled_from(some), unique=True, max_size=6))
    exact = data.draw(st.booleans())
    found = narrowed(policy, used, exact=exact)

    def allowed(by: Policy) -> set[Endpoint]:
        return {endpoint for endpoint in some if verdict(by, endpoint, TODAY) == ALLOW}

    needed = {*used} & allowed(policy)
    assert needed <= allowed(found) <= allowed(policy)
    for less in (
        *(found._replace(scopes=found.scopes - {scope}) for scope in found.scopes),
        *(found._replace(endpoints=found.endpoints - {endpoint}) for endpoint in found.endpoints),
    ):
        assert not needed <= allowed(less)
    if exact:
        assert allowed(found) == needed | {endpoint for endpoint in allowed(policy) if not endpoint.scopes}


@given(data=st.data())
def test_what_scopes_open_beside_it(catalog: Catalog, data: st.DataObject) -> None:
    """The report lists exactly the endpoints that the policy allows by scope and that were never used."""
    policy = data.draw(policies(catalog))._replace(audit=False, expires=None, endpoints=frozenset())
    some = endpoints(catalog)
    used = data.draw(st.lists(st.sampled_from(some), unique=True, max_size=6))
    allowed = {endpoint for endpoint in some if verdict(policy, endpoint, TODAY) == ALLOW}

    assert {endpoint for endpoint in allowed if endpoint.scopes} - {*used} == opened_beyond(policy, used, some)
