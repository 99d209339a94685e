"""The decision about a request: `RULES` applied in order, with a permit or a refusal at the end, and a trace on demand.

The data path asks `decide` and then `choose_key`. `ruling` answers for a policy alone, and `trace` says why.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

from gateway.core.catalog import NOWHERE, Catalog, Endpoint, Lane
from gateway.core.policy import Policy
from gateway.core.refusal import Reason, Refused
from gateway.core.routing import Route, Routes, Standing, pick_key
from gateway.core.rule import Ask, Rule, Stage
from gateway.core.rules import RULES
from gateway.core.target import Target

# Every request passes through one of these.
_CATALOG: Final = tuple((rule.decides, rule) for rule in RULES if rule.stage is Stage.CATALOG)
_POLICY: Final = tuple((rule.decides, rule) for rule in RULES if rule.stage is Stage.POLICY)
_ROUTE: Final = tuple(rule for rule in RULES if rule.stage is Stage.ROUTE)
_KEY: Final = tuple(rule for rule in RULES if rule.stage is Stage.KEY)


class Permit(NamedTuple):
    """Proof that a policy allowed a request, and by which route it goes. `decide` is the only place that makes one.

    Whatever sends a request upstream takes a permit. ``rule`` is the rule that allowed it.
    """

    ask: Ask
    route: Route
    rule: Rule

    @property
    def policy(self) -> Policy:
        return self.ask.policy

    @property
    def caller(self) -> str:
        return self.ask.policy.caller

    @property
    def target(self) -> Target:
        return self.ask.target

    @property
    def endpoint(self) -> Endpoint:
        return self.ask.endpoint

    @property
    def lane(self) -> Lane:
        return self.ask.endpoint.lane

    @property
    def reason(self) -> Reason:
        return self.rule.reason

    @property
    def would_deny(self) -> bool:
        """Whether ``mode: audit`` alone let the request through."""
        return self.rule.would_deny


def ask(target: Target, policy: Policy, catalog: Catalog, routes: Routes | None, today: date) -> Ask:
    """What the rules look at: the request with its endpoint and its route. ``routes=None`` asks the policy alone.

    ``today`` is in UTC. Two look-ups of a few steps each; nothing is decided yet.
    """
    endpoint = catalog.find(target)
    route = None if routes is None else routes.find(policy.caller, endpoint)
    return Ask(policy, endpoint, today, target, catalog, route)


def ruling(ask: Ask) -> Rule:
    """The rule that decides as far as catalog and policy go. Keys and routes are not looked at, and no text is made."""
    # The rules of the catalog are about what has no endpoint, and nothing else.
    for decides, rule in _CATALOG if ask.endpoint is NOWHERE else _POLICY:
        if decides(ask):
            return rule
    raise AssertionError("the last rule of each table decides always")


def granted(policy: Policy, endpoint: Endpoint, today: date) -> Rule:
    """As `ruling`, for an endpoint of the catalog and no request."""
    return ruling(Ask(policy, endpoint, today))


def decide(ask: Ask) -> Permit:
    """Whether this caller may send this. Raises `Refused` by the first rule that objects."""
    rule = ruling(ask)
    if rule.code is not None:
        raise rule.refusal(ask)
    if ask.route is None:
        raise _refusal(_ROUTE, ask)
    return Permit(ask, ask.route, rule)


def choose_key(permit: Permit, standings: Mapping[str, Standing]) -> str:
    """The key of the permit's route that serves it, as `pick_key` says.

    Raises `Refused`: ``scope_required`` where every key is known to lack a scope, ``upstream_key_rejected`` or
    ``upstream_key_unsupported`` where no key can be used.
    """
    key = pick_key(permit.route, permit.endpoint.scopes, standings)
    if key is None:
        raise _refusal(_KEY, permit.ask._replace(route=permit.route, standings=standings))
    return key


def audit_note(permit: Permit) -> str:
    """What enforcing the policy would object to, and the fix, for a permit that ``mode: audit`` gave; else empty."""
    return _POLICY[-1][1].refusal(permit.ask).note if permit.would_deny else ""


class Step(NamedTuple):
    """One line of a trace. ``outcome`` is one of the constants below; ``why`` is for people."""

    rule: str
    outcome: str
    why: str


PASSES: Final = "passes"
ALLOWS: Final = "allows"
REFUSES: Final = "refuses"
NOT_ASKED: Final = "not asked"


def trace(ask: Ask, key: str = "") -> list[Step]:
    """What each rule did, in order, and why. After a refusal no rule is asked any more.

    Where the ask has standings, the keys are part of it; ``key`` is what to say about the key that serves.
    """
    deciding = _deciding(ask)
    steps: list[Step] = []
    decided: Rule | None = None
    for rule in RULES:
        if any(rule.name == step.rule for step in steps):
            continue
        own = next((one for one in deciding if one.name == rule.name), None)
        if decided is not None and (not decided.allows or rule.stage is decided.stage):
            steps.append(Step(rule.name, NOT_ASKED, ""))
        elif own is None:
            steps.append(Step(rule.name, PASSES, key if rule.stage is Stage.KEY else rule.passes(ask)))
        else:
            decided = own
            why = own.says(ask).why if own.allows else own.refusal(ask).note
            steps.append(Step(rule.name, ALLOWS if own.allows else REFUSES, why))
    return steps


def trace_unread(refused: Refused) -> list[Step]:
    """The trace of a target that could not be read: no further rule is asked."""
    names = list(dict.fromkeys(rule.name for rule in RULES))
    return [Step(names[0], REFUSES, refused.note), *(Step(name, NOT_ASKED, "") for name in names[1:])]


def final_rule(ask: Ask) -> Rule:
    """The rule that refuses an ask, of the keys as well where it has standings, or else the one that allows it."""
    return _deciding(ask)[-1]


def _deciding(ask: Ask) -> list[Rule]:
    """The rules that decide, one for each stage up to the one that refuses."""
    found = [ruling(ask)]
    for rule in RULES:
        if found[-1].allows and rule.stage in (Stage.ROUTE, Stage.KEY) and rule.decides(ask):
            found.append(rule)
    return found


def _refusal(rules: Iterable[Rule], ask: Ask) -> Refused:
    return next(rule for rule in rules if rule.decides(ask)).refusal(ask)
