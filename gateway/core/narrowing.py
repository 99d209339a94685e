"""The smallest policy that still allows the requests that its caller made."""

from collections.abc import Collection

from gateway.core.catalog import Endpoint
from gateway.core.policy import Policy


def narrowed(
    policy: Policy, used: Collection[Endpoint], *, audited: Collection[Endpoint] = (), exact: bool = False
) -> Policy:
    """The policy cut to what was used of it; everything but ``scopes`` and ``endpoints`` stays as it is.

    A scope stays where something used needs it, an endpoint that is named singly where it was used itself and no scope
    that stays covers it. Of ``used``, what the policy does not grant is passed over. ``audited`` are endpoints that
    only ``mode: audit`` let through, to be granted from now on. With ``exact``, single endpoints are named in place of
    scopes. A guarded endpoint is named if it was before, and never otherwise.
    """
    named = {endpoint for endpoint in used if endpoint in policy.endpoints and endpoint not in policy.deny}
    by_scope = {endpoint for endpoint in used if _is_by_scope(endpoint, policy) and endpoint.scopes <= policy.scopes}
    by_scope |= {endpoint for endpoint in audited if _is_by_scope(endpoint, policy)}
    if exact:
        named, by_scope = named | by_scope, set()
    scopes = frozenset[str]().union(*(endpoint.scopes for endpoint in by_scope))
    alone = {endpoint for endpoint in named if endpoint.guarded or not endpoint.scopes <= scopes}
    return policy._replace(scopes=scopes, endpoints=frozenset(alone))


def opened_beyond(policy: Policy, used: Collection[Endpoint], endpoints: Collection[Endpoint]) -> frozenset[Endpoint]:
    """The endpoints that the policy's scopes allow and nobody used."""
    return frozenset(
        endpoint
        for endpoint in endpoints
        if endpoint.scopes and endpoint not in used and _is_by_scope(endpoint, policy)
        if endpoint.scopes <= policy.scopes
    )


def _is_by_scope(endpoint: Endpoint, policy: Policy) -> bool:
    """Whether it is for the scopes to say if an endpoint is granted."""
    return not (endpoint.guarded or endpoint in policy.endpoints or endpoint in policy.deny)
