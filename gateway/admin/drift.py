"""Where keys and policies have drifted apart: scopes that a key lacks, and scopes that it carries for nobody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from gateway.core.catalog import Endpoint
from gateway.core.policy import Policy, decide
from gateway.core.refusal import Refused
from gateway.core.routing import Routes

Needs: TypeAlias = frozenset[tuple[tuple[str, ...], frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Drift:
    """``missing``: needed, and no key of the route carries them. ``excess``: carried, and no policy uses them."""

    missing: frozenset[str]
    excess: frozenset[str]


def needs(policies: Iterable[Policy], routes: Routes, endpoints: Iterable[Endpoint], today: date) -> Needs:
    """What the policies ask of the routes' keys: for each granted endpoint, the keys of its route and its scopes.

    What only ``mode: audit`` lets through is not granted. The cost grows with policies times endpoints: once a config.
    """
    scoped = [endpoint for endpoint in endpoints if endpoint.scopes]
    found = set()
    for policy in policies:
        for endpoint in scoped:
            if endpoint in policy.endpoints or endpoint.scopes <= policy.scopes:
                keys = _keys(policy, routes, endpoint, today)
                if keys:
                    found.add((keys, endpoint.scopes))
    return frozenset(found)


def drift(needed: Needs, held: Mapping[str, frozenset[str] | None]) -> dict[str, Drift]:
    """The drift of each key whose scopes are known. A scope is missing only where every key of the route is known."""
    missing: dict[str, set[str]] = {}
    used: dict[str, set[str]] = {}
    for keys, scopes in needed:
        known = [carried for key in keys if (carried := held.get(key)) is not None]
        lacking = len(known) == len(keys) and not any(scopes <= carried for carried in known)
        for key in keys:
            used.setdefault(key, set()).update(scopes)
            if lacking:
                missing.setdefault(key, set()).update(scopes)
    return {
        key: Drift(frozenset(missing.get(key, ())) - carried, carried - used.get(key, set()))
        for key, carried in held.items()
        if carried is not None
    }


def _keys(policy: Policy, routes: Routes, endpoint: Endpoint, today: date) -> tuple[str, ...]:
    try:
        decide(policy, endpoint, today)
        return routes.find(policy.caller, endpoint).keys
    except Refused:
        return ()
