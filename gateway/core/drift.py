"""The differences between keys and policies: scopes that a key lacks, scopes that nobody uses, and what to do."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.core.catalog import Endpoint
from gateway.core.decision import granted
from gateway.core.policy import Policy
from gateway.core.routing import Routes
from gateway.core.rule import Rule
from gateway.core.words import listed

# The keys of a route, and the scopes that an endpoint asks of one of them.
Need: TypeAlias = tuple[tuple[str, ...], frozenset[str]]


# How many audited requests an advice names.
_EXAMPLES: Final = 3
_NONE: Final[Mapping[Any, Any]] = {}


class Needs(NamedTuple):
    """What policies ask of the routes' keys.

    ``endpoints`` has, for each granted endpoint, the keys of its route and its scopes, with one caller and endpoint of
    each as an example. ``forwarded`` has the same for what ``mode: audit`` alone lets through: it uses the keys, and
    nobody has granted it. ``callers`` has, by key, the different sets of scopes that single callers need of it.
    """

    endpoints: Mapping[Need, str] = _NONE
    callers: Mapping[str, frozenset[frozenset[str]]] = _NONE
    forwarded: Mapping[Need, str] = _NONE

    def advice(self, key: str) -> tuple[str, ...]:
        """For a key without a working secret: a sentence with the scopes that policies use; empty if they use none."""
        used = frozenset[str]().union(*(scopes for keys, scopes in self.endpoints if key in keys))
        return (f"policies use {listed(used)} of it",) if used else ()


class Drift(NamedTuple):
    """``missing``: needed, and no key of the route carries them. ``excess``: carried, and no request needs them.

    ``unknown``: carried, and no endpoint of the catalog asks for them. ``wide`` where callers together use more of the
    key than any one of them may use by its own policy. ``unserved`` are examples of what no key of the route can serve,
    a caller and an endpoint each; ``audited`` are those of excess scopes that only ``mode: audit`` uses.
    """

    missing: frozenset[str]
    excess: frozenset[str]
    unknown: frozenset[str] = frozenset()
    wide: bool = False
    unserved: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()

    @property
    def advice(self) -> list[str]:
        """What to do, a sentence each; empty without a difference."""
        said = []
        if self.missing:
            where = f"; no key of its route can serve {self.unserved[0]}" if self.unserved else ""
            said.append(
                f"add {listed(self.missing)} to it in Productlane, or take the grant out of the policies{where}"
            )
        if surplus := self.excess - self.unknown:
            said.append(f"take {listed(surplus)} from it in Productlane; no policy uses that")
        if self.audited:
            said.append(f"before you narrow it: `mode: audit` lets {', '.join(self.audited)} use it")
        if self.unknown:
            said.append(
                f"take {listed(self.unknown)} from it in Productlane, or name the endpoints that ask for that in a "
                "file of `catalog`; this version knows none"
            )
        if self.wide:
            said.append(
                "give its callers keys of their own, by routes with `callers`; it carries more than any of them needs"
            )
        return said


def needs(policies: Iterable[Policy], routes: Routes, endpoints: Iterable[Endpoint], today: date) -> Needs:
    """What the policies ask of the routes' keys.

    Requests that only ``mode: audit`` lets through use a key without a grant. The cost grows with policies times
    endpoints, once for each configuration.
    """
    scoped = [endpoint for endpoint in endpoints if endpoint.scopes]
    of_most = _needs_of("", routes, scoped)  # No caller is called so.
    found: dict[Need, str] = {}
    forwarded: dict[Need, str] = {}
    callers: dict[str, set[frozenset[str]]] = {}
    for policy in policies:
        by_need = _needs_of(policy.caller, routes, scoped) if policy.caller in routes.callers else of_most
        own: set[Need] = set()
        for need, alike in by_need.items():
            for endpoint in alike:
                if (rule := _allowing(policy, endpoint, today)) is None:
                    continue
                example = f"{endpoint.name} for {policy.caller}"
                if rule.would_deny:
                    forwarded.setdefault(need, example)
                else:
                    found.setdefault(need, example)
                    own.add(need)
                    break
        for key in {key for keys, _ in own for key in keys}:
            scopes = frozenset[str]().union(*(scopes for keys, scopes in own if key in keys))
            callers.setdefault(key, set()).add(scopes)
    return Needs(found, {key: frozenset(sets) for key, sets in callers.items()}, forwarded)


def drift(
    needed: Needs, held: Mapping[str, frozenset[str] | None], known: Collection[str] | None = None
) -> dict[str, Drift]:
    """The drift of each key whose scopes are known. A scope is missing only where every key of the route is known.

    ``known`` are the scopes of the catalog; without them none is called unknown.
    """
    missing: dict[str, set[str]] = {}
    unserved: dict[str, list[str]] = {}
    used: dict[str, set[str]] = {}
    for (keys, scopes), example in needed.endpoints.items():
        carriers = [carried for key in keys if (carried := held.get(key)) is not None]
        lacking = len(carriers) == len(keys) and not any(scopes <= carried for carried in carriers)
        for key in keys:
            used.setdefault(key, set()).update(scopes)
            if lacking:
                missing.setdefault(key, set()).update(scopes)
                unserved.setdefault(key, []).append(example)
    return {
        key: _drift(key, carried, needed, used.get(key, set()), missing.get(key, set()), unserved.get(key, []), known)
        for key, carried in held.items()
        if carried is not None
    }


def _drift(
    key: str,
    carried: frozenset[str],
    needed: Needs,
    used: set[str],
    missing: set[str],
    unserved: list[str],
    known: Collection[str] | None,
) -> Drift:
    """The drift of one key. A scope that audit uses is no excess: taking it would refuse what is forwarded now."""
    audited = {
        example: scopes
        for (keys, scopes), example in needed.forwarded.items()
        if key in keys and scopes <= carried and not scopes <= used
    }
    excess = carried - used - frozenset[str]().union(*audited.values())
    return Drift(
        frozenset(missing) - carried,
        excess,
        frozenset() if known is None else carried.difference(known),
        _is_wide(carried & used, needed.callers.get(key, frozenset())),
        tuple(unserved) if missing - carried else (),
        tuple(sorted(audited)[:_EXAMPLES]),
    )


def _is_wide(used: frozenset[str], callers: frozenset[frozenset[str]]) -> bool:
    return bool(used) and not any(used <= own for own in callers)


def _needs_of(caller: str, routes: Routes, endpoints: Iterable[Endpoint]) -> dict[Need, list[Endpoint]]:
    """What each endpoint asks of the keys of its route for this caller; endpoints that ask alike stand together."""
    found: dict[Need, list[Endpoint]] = {}
    for endpoint in endpoints:
        if (route := routes.find(caller, endpoint)) is not None:
            found.setdefault((route.keys, endpoint.scopes), []).append(endpoint)
    return found


def _allowing(policy: Policy, endpoint: Endpoint, today: date) -> Rule | None:
    """The rule that lets it through; None where none does."""
    rule = granted(policy, endpoint, today)
    return rule if rule.allows else None
