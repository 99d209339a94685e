"""Routes and keys checked against each other, the callers and the catalog."""

from collections.abc import Iterable

from gateway.config.reading.document import Document
from gateway.config.reading.problem import Steps, did_you_mean, dotted, shown
from gateway.config.schema import gateway
from gateway.core.catalog import Catalog, plain
from gateway.core.routing import Route


def make_routes(
    entries: Iterable[gateway.Route], document: Document, catalog: Catalog, callers: frozenset[str] | None
) -> tuple[Route, ...]:
    """The routes of the entries. Reports what is wrong. ``callers`` is None if not all of them are known."""
    keys = frozenset(document.names("keys"))
    routes: list[Route] = []
    same: dict[tuple[str, bool], list[tuple[Steps, Route]]] = {}
    for here, entry in document.items(entries, "routes"):
        named = entry.callers or ()
        for at, key in document.items(entry.keys, *here, "keys"):
            if key not in keys:
                document.report(at, f"no key is called {shown(key)}{did_you_mean(key, keys)}")
        for at, caller in document.items(named, *here, "callers"):
            if callers is not None and caller not in callers:
                document.report(at, f"no policy for caller {shown(caller)}{did_you_mean(caller, callers)}")
        route = Route(entry.path, entry.keys, frozenset(named))
        alike = same.setdefault((plain(route.path), not named), [])
        _check_path(route, (*here, "path"), document, catalog)
        _check_alone(route, alike, (*here, "path"), document)
        alike.append((here, route))
        routes.append(route)
    return tuple(routes)


def _check_path(route: Route, here: Steps, document: Document, catalog: Catalog) -> None:
    if route.path.startswith("/api/v2/"):
        document.report(here, f"paths are given without /api/v2: write {shown(route.path.removeprefix('/api/v2'))}")
    elif not any(route.covers(endpoint) for endpoint in catalog.endpoints):
        paths = {endpoint.template for endpoint in catalog.endpoints}
        near = did_you_mean(route.path.removesuffix("/**"), paths)
        document.report(here, f"no endpoint has a path that {shown(route.path)} covers{near}")


def _check_alone(route: Route, alike: Iterable[tuple[Steps, Route]], here: Steps, document: Document) -> None:
    """Report a route that equals another one: either could serve a request."""
    for other_path, other in alike:
        both = route.callers & other.callers
        if both or not route.callers:
            whom = f" for caller {shown(min(both))}" if both else ""
            document.report(here, f"{dotted(other_path)} has this path already{whom}; put the keys into one route")
            return


def check_use(entries: Iterable[gateway.Route], document: Document) -> None:
    """Report keys that no route uses, unless a route could not be read."""
    used = {key for entry in entries for key in entry.keys}
    if document.sound(("routes",)):
        for key in document.names("keys"):
            if key not in used:
                document.report(("keys", key), "no route uses this key; add it to a route or take it out")
