"""Which key serves a request: the route of caller and endpoint, then the narrowest of its keys."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.core.catalog import Endpoint, plain
from gateway.core.key_faults import KEY_FAULTS, KeyFault
from gateway.core.policy import Permit, required_scopes
from gateway.core.refusal import Code, Reason, Refused


@dataclass(frozen=True, slots=True)
class Route:
    """Keys, in order of preference, for the endpoints that a path covers; for the named callers, or for all (empty).

    ``path`` is a template of the API without ``/api/v2``; ``/x/**`` covers ``/x`` and all below it, by whole segments.
    """

    path: str
    keys: tuple[str, ...]
    callers: frozenset[str] = frozenset()

    @property
    def rank(self) -> tuple[int, int]:
        """How narrow the path is: more segments win, and an exact path wins over the same one with ``/**``."""
        stem = self.path.removesuffix("/**")
        return (len([s for s in stem.split("/") if s]), int(stem == self.path))

    def covers(self, endpoint: Endpoint) -> bool:
        path, template = plain(self.path), plain(endpoint.template)
        if not path.endswith("/**"):
            return path == template
        stem = path.removesuffix("/**")
        return template == stem or template.startswith(stem + "/")


class Routes:
    """All routes, resolved when they are loaded: finding one costs two dictionary look-ups."""

    def __init__(self, routes: Iterable[Route], endpoints: Iterable[Endpoint]) -> None:
        self.all: Final = tuple(routes)
        endpoints = tuple(endpoints)
        narrowest_first = sorted(self.all, key=lambda route: route.rank, reverse=True)
        callers = frozenset(caller for route in self.all for caller in route.callers)
        self._for_all: Final = _table([r for r in narrowest_first if not r.callers], endpoints)
        self._for_one: Final = {
            caller: _table([r for r in narrowest_first if caller in r.callers], endpoints) for caller in callers
        }

    @property
    def callers(self) -> Collection[str]:
        """The callers that some route names."""
        return self._for_one.keys()

    def find(self, caller: str, endpoint: Endpoint) -> Route:
        """A route that names the caller beats one that does not; then the longest path wins.

        Raises `Refused` ``forbidden`` where no route covers the endpoint for this caller.
        """
        own = self._for_one.get(caller)
        route = (own and own.get(endpoint)) or self._for_all.get(endpoint)
        if route is None:
            raise Refused(
                Code.FORBIDDEN,
                Reason.NO_ROUTE,
                f"No key is set up for `{endpoint.name}`.",
                note=f"no route covers {endpoint.name} for caller {caller}; add one under `routes`",
            )
        return route


def _table(routes: Sequence[Route], endpoints: Iterable[Endpoint]) -> dict[Endpoint, Route]:
    found = ((endpoint, next((r for r in routes if r.covers(endpoint)), None)) for endpoint in endpoints)
    return {endpoint: route for endpoint, route in found if route is not None}


class Standing(NamedTuple):
    """What is known of a key at this moment.

    ``scopes`` is None while its identity is unknown. ``refused`` says why the key cannot be used at all.
    """

    scopes: frozenset[str] | None = None
    refused: KeyFault | None = None


def choose_key(route: Route, permit: Permit, standings: Mapping[str, Standing]) -> str:
    """The key with the fewest scopes among those of the route that carry all the endpoint needs.

    Where no key is known to carry them but the identity of some is unknown, the first of those: the policy has been
    enforced, and the upstream is the authority. Raises `Refused`: ``scope_required`` where every key is known to lack a
    scope, ``upstream_key_rejected`` or ``upstream_key_unsupported`` where no key can be used.
    """
    needed = permit.endpoint.scopes
    usable = _usable(route, standings)
    carrying = [(len(scopes), name) for name, scopes in usable if scopes is not None and needed <= scopes]
    if carrying:
        return min(carrying, key=lambda pair: pair[0])[1]
    for name, scopes in usable:
        if scopes is None:
            return name
    granted = frozenset[str]().union(*(scopes for _, scopes in usable if scopes))
    names = ", ".join(name for name, _ in usable)
    missing = ", ".join(sorted(needed - granted)) or "all of them on one key"
    raise Refused(
        Code.SCOPE_REQUIRED,
        Reason.SCOPE_ON_NO_KEY,
        required_scopes(permit.endpoint),
        note=f"route {route.path}: key {names} lacks {missing}; widen a key in Productlane or add one to the route",
        details={"required": sorted(needed), "granted": sorted(granted)},
    )


def narrowest_key(route: Route, standings: Mapping[str, Standing]) -> str:
    """The key that `choose_key` gives where no scope is needed: the one with the fewest, an unknown one last.

    Raises `Refused` where no key can be used.
    """
    return min(_usable(route, standings), key=lambda pair: (pair[1] is None, len(pair[1] or ())))[0]


def _usable(route: Route, standings: Mapping[str, Standing]) -> list[tuple[str, frozenset[str] | None]]:
    usable = [(name, standings[name].scopes) for name in route.keys if standings[name].refused is None]
    if not usable:
        raise _none_usable(route, standings)
    return usable


def _none_usable(route: Route, standings: Mapping[str, Standing]) -> Refused:
    """The refusal that names the fault of each key. A rejected key counts most: its cause is the likeliest."""
    faults: dict[KeyFault, list[str]] = {}
    for name in route.keys:
        fault = standings[name].refused
        assert fault is not None  # noqa: S101 - a key without a fault is usable
        faults.setdefault(fault, []).append(name)
    said = (
        f"key {', '.join(names)}: {KEY_FAULTS[fault].meaning}; {KEY_FAULTS[fault].cure}"
        for fault, names in faults.items()
    )
    worst = KEY_FAULTS[min(faults, key=tuple(KeyFault).index)]
    return Refused(worst.code, Reason.KEY_REFUSED, worst.message, note=f"route {route.path}: " + "; ".join(said))
