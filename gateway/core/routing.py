"""Which key serves a request: the route of caller and endpoint, then the narrowest of its keys."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from gateway.core.catalog import Endpoint, plain
from gateway.core.key_faults import KeyFault


class Route(NamedTuple):
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

    def find(self, caller: str, endpoint: Endpoint) -> Route | None:
        """A route that names the caller beats one that does not; then the longest path wins. None where none covers."""
        own = self._for_one.get(caller)
        return (own and own.get(endpoint)) or self._for_all.get(endpoint)


def _table(routes: Sequence[Route], endpoints: Iterable[Endpoint]) -> dict[Endpoint, Route]:
    found = ((endpoint, next((r for r in routes if r.covers(endpoint)), None)) for endpoint in endpoints)
    return {endpoint: route for endpoint, route in found if route is not None}


class Standing(NamedTuple):
    """What is known of a key at this moment.

    ``scopes`` is None while its identity is unknown. ``refused`` says why the key cannot be used at all.
    """

    scopes: frozenset[str] | None = None
    refused: KeyFault | None = None


def pick_key(route: Route, scopes: frozenset[str], standings: Mapping[str, Standing]) -> str | None:
    """The key with the fewest scopes among those of the route that carry all of ``scopes``; the first of equals.

    Where no key is known to carry them but the identity of some is unknown, the first of those: the policy has been
    enforced, and the upstream is the authority. None where no key can serve.
    """
    best: str | None = None
    fewest: float = inf
    unknown: str | None = None
    for name in route.keys:
        standing = standings[name]
        if standing.refused is not None:
            continue
        if standing.scopes is None:
            unknown = unknown or name
        elif scopes <= standing.scopes and len(standing.scopes) < fewest:
            best, fewest = name, len(standing.scopes)
    return best or unknown
