"""Which key would serve a request, and why none of the others."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.cli.table import listed
from gateway.core.key_faults import KEY_FAULTS, KeyFault
from gateway.core.policy import Permit
from gateway.core.refusal import Refused
from gateway.core.routing import Route, Standing, choose_key, narrowest_key

if TYPE_CHECKING:
    from gateway.telemetry.status import KeyStatus

_ME: Final = "GET /me"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key of the route. ``scopes`` is None where they are not known; ``why`` says why it serves, or why not."""

    key: str
    chosen: bool
    scopes: tuple[str, ...] | None
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The key, None where none can serve, which ``refused`` then says; and every key of the route, in its order."""

    key: str | None = None
    why: str = ""
    refused: Refused | None = None
    candidates: tuple[Candidate, ...] = ()


def choose(route: Route, permit: Permit, reports: "Iterable[KeyStatus] | None") -> Choice:
    """As the gateway chooses. Without ``reports`` nothing is known of any key, as when Productlane cannot be asked."""
    known = {} if reports is None else {report.name: _standing(report) for report in reports}
    standings = {name: known.get(name, Standing()) for name in route.keys}
    try:
        # As the handler does: `/me` is answered from what is known of a key, and asks for no scope.
        key = narrowest_key(route, standings) if permit.endpoint.name == _ME else choose_key(route, permit, standings)
    except Refused as refused:
        return Choice(refused=refused, candidates=tuple(_candidates(route, permit, standings, None)))
    found = tuple(_candidates(route, permit, standings, key))
    return Choice(key, next(one.why for one in found if one.chosen), candidates=found)


def _standing(report: "KeyStatus") -> Standing:
    """How the gateway would find the key after it has asked about its secrets."""
    states = [slot.state for slot in report.slots]
    if report.active is not None:
        return Standing(frozenset(report.active.scopes or ()))
    if "unverified" in states:
        return Standing()
    state = next((state for state in states if state != "missing"), "missing")
    return Standing(refused=KeyFault(state))


def _candidates(
    route: Route, permit: Permit, standings: Mapping[str, Standing], chosen: str | None
) -> Iterator[Candidate]:
    for name in route.keys:
        standing = standings[name]
        scopes = None if standing.scopes is None else tuple(sorted(standing.scopes))
        why = _why(name, route, permit, standings) if name == chosen else _why_not(standing, permit, standings, chosen)
        yield Candidate(name, name == chosen, scopes, why)


def _why(name: str, route: Route, permit: Permit, standings: Mapping[str, Standing]) -> str:
    needed = permit.endpoint.scopes
    fewest = f"the one with the fewest that carries {listed(needed)}" if needed else "the one with the fewest"
    if permit.endpoint.name == _ME:
        return "answered by the gateway from what is known of the key with the fewest scopes, cut to this caller's"
    if len(route.keys) == 1:
        return "the route's only key"
    if standings[name].scopes is None:
        return f"the first of the route; once scopes are known, {fewest}"
    return f"of those whose scopes are known, {fewest}"


def _why_not(standing: Standing, permit: Permit, standings: Mapping[str, Standing], chosen: str | None) -> str:
    if standing.refused is not None:
        return KEY_FAULTS[standing.refused].meaning
    if standing.scopes is None:
        return "nothing is known of its scopes"
    if lacking := permit.endpoint.scopes - standing.scopes:
        return f"lacks {listed(lacking)}"
    best = standings[chosen].scopes if chosen is not None else None
    if best is not None and len(best) == len(standing.scopes):
        return f"would do, with as many scopes as {chosen}, which comes first"
    return f"would do, with {len(standing.scopes)} scopes" + ("" if best is None else f" instead of {len(best)}")
