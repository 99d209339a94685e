"""Each rule that a request passed, up to the one that decided, and each route that might have served it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.cli.table import listed
from gateway.core.catalog import Endpoint
from gateway.core.policy import Policy
from gateway.core.refusal import Reason, Refused
from gateway.core.routing import Route, Routes
from gateway.core.verdict import Verdict

PASSES: Final = "passes"
ALLOWS: Final = "allows"
REFUSES: Final = "refuses"
UNASKED: Final = "not asked"

# The rules in the order in which `judge` asks them, and for each reason the rule that gives it.
_ORDER: Final = ("target", "catalog", "expires", "deny", "endpoints", "guarded", "scopes", "mode", "routes", "keys")
_OF: Final = {
    Reason.TARGET: "target",
    Reason.API_VERSION: "catalog",
    Reason.ENDPOINT_UNKNOWN: "catalog",
    Reason.METHOD: "catalog",
    Reason.EXPIRED: "expires",
    Reason.DENIED: "deny",
    Reason.ENDPOINT_NAMED: "endpoints",
    Reason.GUARDED: "guarded",
    Reason.SCOPE_HELD: "scopes",
    Reason.ANY_KEY: "scopes",
    Reason.SCOPE_NOT_GRANTED: "scopes",
    Reason.NO_ROUTE: "routes",
    Reason.SCOPE_ON_NO_KEY: "keys",
    Reason.KEY_REFUSED: "keys",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: whether it let pass, allowed or refused the request or was not asked any more, and why."""

    rule: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that covers the endpoint for this caller, and why it serves it or why not."""

    path: str
    callers: tuple[str, ...]
    keys: tuple[str, ...]
    chosen: bool
    why: str


def rules(verdict: Verdict, refused: Refused | None, policy: Policy, key_choice: str) -> tuple[Rule, ...]:
    """Every rule in order. ``refused`` is the refusal that counts, the verdict's own or that of the keys."""
    return tuple(_rules(verdict, refused, policy, key_choice))


def _rules(verdict: Verdict, refused: Refused | None, policy: Policy, key_choice: str) -> Iterator[Rule]:
    refusing = "" if refused is None else _OF[refused.reason]
    allowing = "" if verdict.permit is None else _OF[verdict.permit.reason]
    if verdict.permit is not None and verdict.permit.would_deny:
        allowing = "mode"
    open_so_far = True
    for name in _ORDER:
        # What the policy has allowed, no further rule of the policy is asked about.
        settled = bool(allowing) and _ORDER.index(allowing) < _ORDER.index(name) < _ORDER.index("routes")
        if not open_so_far or settled or (name == "mode" and allowing != "mode"):
            yield Rule(name, UNASKED, "")
        elif name == refusing and refused is not None:
            yield Rule(name, REFUSES, refused.note)
            open_so_far = False
        else:
            outcome = ALLOWS if name == allowing else PASSES
            if name == "scopes" and allowing == "mode":
                outcome = REFUSES
            yield Rule(name, outcome, _why(name, verdict, policy, key_choice))


def _why(name: str, verdict: Verdict, policy: Policy, key_choice: str) -> str:
    """What a rule that does not end the request says about it."""
    endpoint, route = verdict.endpoint, verdict.route
    if name == "target":
        return "can be read in one way only"
    if endpoint is None:
        return ""
    words = {
        "catalog": f"it is {endpoint.name}",
        "expires": f"{policy.expires} is to come" if policy.expires else "no date is set",
        "deny": _named(policy.deny, endpoint),
        "endpoints": _named(policy.endpoints, endpoint),
        "guarded": "the endpoint is not guarded",
        "scopes": _scopes(endpoint, policy),
        "mode": "audit: forwarded, and counted as would_deny",
        "routes": f"{route.path} serves it" if route else "",
        "keys": key_choice,
    }
    return words[name]


def _named(names: frozenset[Endpoint], endpoint: Endpoint) -> str:
    if endpoint in names:
        return "names it"
    return f"names {len(names)}, and not this one" if names else "names nothing"


def _scopes(endpoint: Endpoint, policy: Policy) -> str:
    if not endpoint.scopes:
        return "the endpoint needs none"
    lacking = endpoint.scopes - policy.scopes
    return f"without {listed(lacking)}" if lacking else f"holds {listed(endpoint.scopes)}"


def candidates(routes: Routes, chosen: Route | None, endpoint: Endpoint | None, caller: str) -> list[Candidate]:
    """The route that serves it, then the others that cover it, in the order of the configuration."""
    if chosen is None or endpoint is None:
        return []
    covering = [
        route for route in routes.all if route.covers(endpoint) and (not route.callers or caller in route.callers)
    ]
    return [
        Candidate(
            route.path, tuple(sorted(route.callers)), route.keys, route == chosen, _why_route(route, chosen, caller)
        )
        for route in sorted(covering, key=lambda route: route != chosen)
    ]


def _why_route(route: Route, chosen: Route, caller: str) -> str:
    if route == chosen:
        return f"names {caller}" if route.callers else "the longest path of those that cover it"
    if chosen.callers and not route.callers:
        return f"names no caller, and {chosen.path} names {caller}"
    return f"{chosen.path} is the longer path"
