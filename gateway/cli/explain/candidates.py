"""The routes and keys that might serve a request, each with why it does or why not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.cli.table import listed
from gateway.core.key_faults import KeyFault
from gateway.core.routing import Route, Routes, Standing, pick_key
from gateway.core.rule import Ask

if TYPE_CHECKING:
    from gateway.telemetry.status import KeyStatus


@dataclass(frozen=True, slots=True)
class RouteCandidate:
    """A route that covers the endpoint for this caller."""

    path: str
    callers: tuple[str, ...]
    keys: tuple[str, ...]
    chosen: bool
    why: str


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """A key of the route. ``scopes`` is None where they are not known."""

    key: str
    chosen: bool
    scopes: tuple[str, ...] | None
    why: str


def route_candidates(routes: Routes, ask: Ask) -> list[RouteCandidate]:
    """The route that serves an ask first, then the others that cover it, in the order of the file."""
    chosen, caller = ask.route, ask.policy.caller
    if chosen is None:
        return []
    covering = [
        route for route in routes.all if route.covers(ask.endpoint) and (not route.callers or caller in route.callers)
    ]
    covering.sort(key=lambda route: route != chosen)
    return [
        RouteCandidate(
            route.path, tuple(sorted(route.callers)), route.keys, route == chosen, _why_route(route, chosen, caller)
        )
        for route in covering
    ]


def _why_route(route: Route, chosen: Route, caller: str) -> str:
    if route == chosen:
        return f"names {caller}" if route.callers else "the longest path of those that cover it"
    if chosen.callers and not route.callers:
        return f"names no caller, and {chosen.path} names {caller}"
    return f"{chosen.path} is the longer path"


def standings(route: Route, reports: "Iterable[KeyStatus] | None") -> dict[str, Standing]:
    """How the gateway would find the route's keys. Without ``reports`` nothing is known about any key."""
    known = {report.name: _standing(report) for report in reports or ()}
    return {name: known.get(name, Standing()) for name in route.keys}


def _standing(report: "KeyStatus") -> Standing:
    states = [slot.state for slot in report.slots]
    if report.active is not None:
        return Standing(frozenset(report.active.scopes or ()))
    if "unverified" in states:
        return Standing()
    first = next((state for state in states if state != KeyFault.MISSING), KeyFault.MISSING)
    return Standing(refused=next(fault for fault in KeyFault if fault == first))


def key_candidates(ask: Ask) -> list[KeyCandidate]:
    """The keys of an ask with standings, in the order of the route."""
    if ask.route is None or ask.standings is None:
        return []
    chosen = pick_key(ask.route, ask.endpoint.scopes, ask.standings)
    return [
        KeyCandidate(
            name,
            name == chosen,
            None if standing.scopes is None else tuple(sorted(standing.scopes)),
            _why_key(ask, standing) if name == chosen else _why_not_key(ask, standing, ask.standings, chosen),
        )
        for name, standing in ask.standings.items()
    ]


def _why_key(ask: Ask, standing: Standing) -> str:
    needed = ask.endpoint.scopes
    fewest = f"the one with the fewest that carries {listed(needed)}" if needed else "the one with the fewest"
    if ask.endpoint.name == "GET /me":
        return "answered by the gateway from what is known of the key with the fewest scopes, cut to this caller's"
    if ask.standings is not None and len(ask.standings) == 1:
        return "the route's only key"
    if standing.scopes is None:
        return f"the first of the route; once scopes are known, {fewest}"
    return f"of those whose scopes are known, {fewest}"


def _why_not_key(ask: Ask, standing: Standing, others: Mapping[str, Standing], chosen: str | None) -> str:
    if standing.refused is not None:
        return standing.refused.meaning
    if standing.scopes is None:
        return "its scopes are not known"
    if lacking := ask.endpoint.scopes - standing.scopes:
        return f"lacks {listed(lacking)}"
    best = others[chosen].scopes if chosen is not None else None
    if best is not None and len(best) == len(standing.scopes):
        return f"would do, with as many scopes as {chosen}, which comes first"
    return f"would do, with {len(standing.scopes)} scopes" + ("" if best is None else f" instead of {len(best)}")
