"""The rules of a decision, in order. `gateway.core.decision` applies them; ``explain`` and the docs print them."""

from collections.abc import Callable
from typing import Final

from gateway.core.catalog import Endpoint
from gateway.core.key_faults import KeyFault
from gateway.core.refusal import Code, Reason
from gateway.core.routing import pick_key
from gateway.core.rule import Ask, Rule, Stage, Words
from gateway.core.words import (
    any_key,
    audited,
    denied,
    expired,
    guarded,
    key_faults,
    keys_refused,
    named,
    no_route,
    scope_held,
    scope_not_granted,
    scope_on_no_key,
    unknown_endpoint,
    version_ended,
    wrong_method,
)


def _never(_: Ask) -> bool:
    """Decided before there is an ask: by `read_target` and by the authentication of the caller."""
    return False


def _nothing(_: Ask) -> Words:
    return Words("", "")


def _refused_with(code: Code) -> Callable[[Ask], bool]:
    def decides(ask: Ask) -> bool:
        worst = min(key_faults(ask), key=tuple(KeyFault).index, default=None)
        return worst is not None and worst.code is code

    return decides


def _on_no_key(ask: Ask) -> bool:
    if ask.route is None or ask.standings is None:
        return False
    return pick_key(ask.route, ask.endpoint.scopes, ask.standings) is None


def _names(names: frozenset[Endpoint]) -> str:
    return f"names {len(names)}, and not this one" if names else "names nothing"


def _lacking(ask: Ask) -> str:
    lacking = ask.endpoint.scopes - ask.policy.scopes
    return f"without {' '.join(sorted(lacking))}" if lacking else "the endpoint needs none"


# fmt: off
# Name, stage, reason, code (None: it allows), when it decides; then whether it does, what it says, and why it does not.
RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "target", Stage.TARGET, Reason.TARGET, Code.INVALID_REQUEST,
        "two servers could read the path or the query differently, or it is too long",
        _never, _nothing, lambda _: "can be read in one way only",
    ),
    Rule(
        "caller", Stage.CALLER, Reason.CREDENTIAL_UNKNOWN, Code.UNAUTHENTICATED,
        "no credential of the request proves a caller",
        _never, _nothing, lambda ask: f"it is {ask.policy.caller}",
    ),
    Rule(
        "version", Stage.CATALOG, Reason.API_VERSION, Code.UNSUPPORTED_API_VERSION,
        "the path is below `/api/v1`",
        lambda ask: ask.target.is_v1, version_ended, lambda _: "it is not v1",
    ),
    Rule(
        "endpoint", Stage.CATALOG, Reason.ENDPOINT_UNKNOWN, Code.NOT_FOUND,
        "the catalog has no such path",
        lambda ask: not ask.catalog.methods(ask.target),
        unknown_endpoint, lambda ask: f"the catalog has {ask.endpoint.template or 'the path'}",
    ),
    Rule(
        "method", Stage.CATALOG, Reason.METHOD, Code.METHOD_NOT_ALLOWED,
        "the path has no such method",
        lambda _: True, wrong_method, lambda ask: f"it is {ask.endpoint.name}",
    ),
    Rule(
        "expires", Stage.POLICY, Reason.EXPIRED, Code.FORBIDDEN,
        "the day under `expires` has come",
        lambda ask: ask.policy.expires is not None and ask.today >= ask.policy.expires,
        expired, lambda ask: f"{ask.policy.expires} is to come" if ask.policy.expires else "no date is set",
    ),
    Rule(
        "deny", Stage.POLICY, Reason.DENIED, Code.FORBIDDEN,
        "`deny` names the endpoint",
        lambda ask: ask.endpoint in ask.policy.deny, denied, lambda ask: _names(ask.policy.deny),
    ),
    Rule(
        "endpoints", Stage.POLICY, Reason.ENDPOINT_NAMED, None,
        "`endpoints` names the endpoint",
        lambda ask: ask.endpoint in ask.policy.endpoints, named, lambda ask: _names(ask.policy.endpoints),
    ),
    Rule(
        "guarded", Stage.POLICY, Reason.GUARDED, Code.FORBIDDEN,
        "the endpoint is guarded",
        lambda ask: ask.endpoint.guarded, guarded, lambda _: "the endpoint is not guarded",
    ),
    Rule(
        "scopes", Stage.POLICY, Reason.ANY_KEY, None,
        "the endpoint needs no scope",
        lambda ask: not ask.endpoint.scopes, any_key, _lacking,
    ),
    Rule(
        "scopes", Stage.POLICY, Reason.SCOPE_HELD, None,
        "`scopes` holds all that the endpoint needs",
        lambda ask: ask.endpoint.scopes <= ask.policy.scopes, scope_held, _lacking,
    ),
    Rule(
        "mode", Stage.POLICY, Reason.SCOPE_NOT_GRANTED, None,
        "`mode: audit` forwards it all the same, counted as `would_deny`",
        lambda ask: ask.policy.audit, audited, lambda _: "enforce",
    ),
    Rule(
        "scopes", Stage.POLICY, Reason.SCOPE_NOT_GRANTED, Code.SCOPE_REQUIRED,
        "`scopes` lacks one that the endpoint needs",
        lambda _: True, scope_not_granted, _lacking,
    ),
    Rule(
        "routes", Stage.ROUTE, Reason.NO_ROUTE, Code.FORBIDDEN,
        "no route covers the endpoint for this caller",
        lambda ask: ask.route is None, no_route, lambda ask: f"{ask.route.path if ask.route else ''} serves it",
    ),
    Rule(
        "keys", Stage.KEY, Reason.KEY_REFUSED, Code.UPSTREAM_KEY_REJECTED,
        "no key of the route can be used",
        _refused_with(Code.UPSTREAM_KEY_REJECTED), keys_refused, lambda _: "",
    ),
    Rule(
        "keys", Stage.KEY, Reason.KEY_REFUSED, Code.UPSTREAM_KEY_UNSUPPORTED,
        "no key of the route is a v2 key",
        _refused_with(Code.UPSTREAM_KEY_UNSUPPORTED), keys_refused, lambda _: "",
    ),
    Rule(
        "keys", Stage.KEY, Reason.SCOPE_ON_NO_KEY, Code.SCOPE_REQUIRED,
        "no key of the route carries the scopes",
        _on_no_key, scope_on_no_key, lambda _: "",
    ),
)
# fmt: on
