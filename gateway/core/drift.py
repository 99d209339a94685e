"""Where keys and policies have drifted apart: what a key lacks, what it carries for nobody, and what would mend it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

from gateway.core.catalog import Endpoint
from gateway.core.decision import granted
from gateway.core.policy import Policy
from gateway.core.routing import Routes

# The keys of a route, and the scopes that an endpoint asks of one of them.
Need: TypeAlias = tuple[tuple[str, ...], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Needs:
    """What policies ask of the routes' keys.

    ``endpoints`` has, for each granted endpoint, the keys of its route and its scopes. ``callers`` has, by key, the
    different sets of scopes that single callers need of it.
    """

    endpoints: frozenset[Need] = frozenset()
    callers: Mapping[str, frozenset[frozenset[str]]] = field(default_factory=dict)

    def advice(self, key: str) -> tuple[str, ...]:
        """What a secret for a key should carry, in a sentence, for where it has none that works; none if nothing."""
        used = frozenset[str]().union(*(scopes for keys, scopes in self.endpoints if key in keys))
        return (f"policies use {_listed(used)} of it",) if used else ()


@dataclass(frozen=True, slots=True)
class Drift:
    """``missing``: needed, and no key of the route carries them. ``excess``: carried, and no policy uses them.

    ``unknown``: carried, and no endpoint of the catalog asks for them. ``wide`` where policies use of the key more than
    any caller has by its own policy, so that whoever holds it can do more than each of them.
    """

    missing: frozenset[str]
    excess: frozenset[str]
    unknown: frozenset[str] = frozenset()
    wide: bool = False

    @property
    def advice(self) -> list[str]:
        """What would mend it, a sentence each; none where nothing has drifted."""
        said = []
        if self.missing:
            said.append(f"add {_listed(self.missing)} to it in Productlane, or take the grant out of the policies")
        if surplus := self.excess - self.unknown:
            said.append(f"take {_listed(surplus)} from it in Productlane; no policy uses that")
        if self.unknown:
            said.append(
                f"take {_listed(self.unknown)} from it in Productlane, or name the endpoints that ask for that in a "
                "file of `catalog`; this version knows none"
            )
        if self.wide:
            said.append(
                "give its callers keys of their own, by routes with `callers`; it carries more than any of them needs"
            )
        return said


def needs(policies: Iterable[Policy], routes: Routes, endpoints: Iterable[Endpoint], today: date) -> Needs:
    """What the policies ask of the routes' keys.

    What only ``mode: audit`` lets through is not granted. The cost grows with policies times endpoints: once a config.
    """
    scoped = [endpoint for endpoint in endpoints if endpoint.scopes]
    of_most = _needs_of("", routes, scoped)  # No caller is called so.
    found: set[Need] = set()
    callers: dict[str, set[frozenset[str]]] = {}
    for policy in policies:
        by_need = _needs_of(policy.caller, routes, scoped) if policy.caller in routes.callers else of_most
        own = {need for need, alike in by_need.items() if any(_grants(policy, endpoint, today) for endpoint in alike)}
        found |= own
        for key in {key for keys, _ in own for key in keys}:
            scopes = frozenset[str]().union(*(scopes for keys, scopes in own if key in keys))
            callers.setdefault(key, set()).add(scopes)
    return Needs(frozenset(found), {key: frozenset(sets) for key, sets in callers.items()})


def drift(
    needed: Needs, held: Mapping[str, frozenset[str] | None], known: Collection[str] | None = None
) -> dict[str, Drift]:
    """The drift of each key whose scopes are known. A scope is missing only where every key of the route is known.

    ``known`` are the scopes of the catalog; without them none is called unknown.
    """
    missing: dict[str, set[str]] = {}
    used: dict[str, set[str]] = {}
    for keys, scopes in needed.endpoints:
        carriers = [carried for key in keys if (carried := held.get(key)) is not None]
        lacking = len(carriers) == len(keys) and not any(scopes <= carried for carried in carriers)
        for key in keys:
            used.setdefault(key, set()).update(scopes)
            if lacking:
                missing.setdefault(key, set()).update(scopes)
    return {
        key: Drift(
            frozenset(missing.get(key, ())) - carried,
            carried - used.get(key, set()),
            frozenset() if known is None else carried.difference(known),
            _is_wide(carried & used.get(key, set()), needed.callers.get(key, frozenset())),
        )
        for key, carried in held.items()
        if carried is not None
    }


def _is_wide(used: frozenset[str], callers: frozenset[frozenset[str]]) -> bool:
    return bool(used) and not any(used <= own for own in callers)


def _listed(scopes: Iterable[str]) -> str:
    return ", ".join(sorted(scopes))


def _needs_of(caller: str, routes: Routes, endpoints: Iterable[Endpoint]) -> dict[Need, list[Endpoint]]:
    """What each endpoint asks of the keys of its route for this caller; endpoints that ask alike stand together."""
    found: dict[Need, list[Endpoint]] = {}
    for endpoint in endpoints:
        if (route := routes.find(caller, endpoint)) is not None:
            found.setdefault((route.keys, endpoint.scopes), []).append(endpoint)
    return found


def _grants(policy: Policy, endpoint: Endpoint, today: date) -> bool:
    """Whether it is permitted, and not by audit alone."""
    rule = granted(policy, endpoint, today)
    return rule.allows and not rule.would_deny
