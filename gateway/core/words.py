"""The words of each rule of the decision, for the caller and for the operator."""

from collections.abc import Iterable

from gateway.core.catalog import Endpoint
from gateway.core.key_faults import KeyFault
from gateway.core.rule import Ask, Words
from gateway.core.target import legible


def required_scopes(endpoint: Endpoint) -> str:
    """Productlane's sentence for ``scope_required``, for one scope or several."""
    plural = "s" if len(endpoint.scopes) > 1 else ""
    return f"This endpoint requires the {_quoted(endpoint.scopes, ' and ')} scope{plural}."


def version_ended(ask: Ask) -> Words:
    """The request is for version 1 of the API."""
    replacement = ask.catalog.replacement(ask.target)
    return Words(
        "the catalog",
        "version 1 of the API is not served",
        "Version 1 of the Productlane API ended on 2026-11-20; only /api/v2 is served.",
        f"use {replacement} instead" if replacement else "use an endpoint of v2; the command `catalog` lists them",
        {"replacement": replacement} if replacement else None,
    )


def unknown_endpoint(ask: Ask) -> Words:
    """The catalog has no such path."""
    near = ask.catalog.near(ask.target)
    return Words(
        "the catalog",
        "the path is not in the catalog",
        "No endpoint of the Productlane v2 API has this path.",
        f"use {near}, if that is what you mean"
        if near
        else "add it by the setting `catalog` if it is newer than the gateway",
    )


def wrong_method(ask: Ask) -> Words:
    """The path has no such method."""
    method, methods = ask.target.method, ask.catalog.methods(ask.target)
    allow = ", ".join(methods)
    upper = method.upper()
    fix = f"write the method in capitals: {upper}" if method != upper and upper in methods else f"use {allow}"
    why = f"the endpoint has no method {legible(method)}"
    return Words("the catalog", why, f"This path takes {allow}.", fix, headers=(("Allow", allow),))


def expired(ask: Ask) -> Words:
    """The grant has ended."""
    caller, day = ask.policy.caller, ask.policy.expires
    return Words(
        f"policy {caller}, expires: {day}",
        f"policy {caller}: `expires: {day}` has passed",
        f"The grant of caller `{caller}` ended on {day}.",
        f"set a later date in policy `{caller}` to renew it",
    )


def denied(ask: Ask) -> Words:
    """`deny` names the endpoint."""
    caller, name = ask.policy.caller, ask.endpoint.name
    return Words(
        f"policy {caller}, deny: {name}",
        f"policy {caller}: `deny` names {name}",
        f"Caller `{caller}` is denied `{name}`.",
        f"remove it from `deny` in policy `{caller}` to allow it",
    )


def named(ask: Ask) -> Words:
    """`endpoints` names the endpoint."""
    return Words(f"policy {ask.policy.caller}, endpoints: {ask.endpoint.name}", "`endpoints` names it")


def guarded(ask: Ask) -> Words:
    """The endpoint is guarded and not named."""
    caller, name = ask.policy.caller, ask.endpoint.name
    return Words(
        f"the catalog, guarded: {name}",
        f"policy {caller}: `endpoints` does not name the guarded {name}",
        f"`{name}` is guarded: no scope alone reaches it.",
        f"name {name} under `endpoints` in {_file(ask)} to allow it",
    )


def any_key(_: Ask) -> Words:
    """The endpoint needs no scope."""
    return Words("the catalog: this endpoint needs no scope", "the endpoint needs no scope")


def scope_held(ask: Ask) -> Words:
    """`scopes` holds all that is needed."""
    scopes = " ".join(sorted(ask.endpoint.scopes))
    return Words(f"policy {ask.policy.caller}, scopes: {scopes}", f"holds {scopes}")


def scope_not_granted(ask: Ask) -> Words:
    """`scopes` lacks one that is needed."""
    policy, endpoint = ask.policy, ask.endpoint
    missing = endpoint.scopes - policy.scopes
    return Words(
        f"policy {policy.caller}, scopes: without {' '.join(sorted(missing))}",
        f"policy {policy.caller}: does not grant {listed(missing)}",
        required_scopes(endpoint),
        f"add {_quoted(missing)} {'to' if policy.variable else 'under'} {policy.place}",
        {"required": sorted(endpoint.scopes), "granted": sorted(policy.scopes)},
    )


def audited(ask: Ask) -> Words:
    """`mode: audit` forwards what enforcing would refuse."""
    return Words(f"policy {ask.policy.caller}, mode: audit", "audit: forwarded, and counted as would_deny")


def no_route(ask: Ask) -> Words:
    """No route covers the endpoint for this caller."""
    name, caller = ask.endpoint.name, ask.policy.caller
    return Words(
        "routes",
        f"no route covers {name} for caller {caller}",
        f"No key is set up for `{name}`.",
        f"add a route that covers it for caller `{caller}` under `routes`",
    )


def keys_refused(ask: Ask) -> Words:
    """No key of the route can be used."""
    faults = key_faults(ask)
    row = min(faults, key=tuple(KeyFault).index)
    said = "; ".join(f"key {', '.join(names)}: {fault.meaning}" for fault, names in faults.items())
    return Words(f"route {_path(ask)}", f"route {_path(ask)}: {said}", row.message, row.cure)


def scope_on_no_key(ask: Ask) -> Words:
    """No key of the route carries the scopes."""
    standings, needed = ask.standings or {}, ask.endpoint.scopes
    usable = {name: one.scopes for name, one in standings.items() if one.refused is None}
    carried = frozenset[str]().union(*(scopes for scopes in usable.values() if scopes))
    missing = listed(needed - carried) or "all of them on one key"
    # A key that Productlane refuses may be the one that carried them.
    refused = {name: one.refused for name, one in standings.items() if one.refused is not None}
    faults = "".join(f"; key {name}: {row.meaning}" for name, row in refused.items())
    cures = "".join(f"for key {name}, {row.cure}; or " for name, row in refused.items())
    return Words(
        f"route {_path(ask)}",
        f"route {_path(ask)}: key {', '.join(usable)} lacks {missing}{faults}",
        required_scopes(ask.endpoint),
        f"{cures}widen a key in Productlane or add one to the route",
        {"required": sorted(needed), "granted": sorted(ask.policy.scopes)},
    )


def _file(ask: Ask) -> str:
    """The policy that would have to say more; a sidecar without files needs one first."""
    return "a policy file, which this sidecar needs first," if ask.policy.variable else f"policy `{ask.policy.caller}`"


def key_faults(ask: Ask) -> dict[KeyFault, list[str]]:
    """The keys of the route by their faults; empty where one has none, or where nobody has looked."""
    found: dict[KeyFault, list[str]] = {}
    for name, standing in (ask.standings or {}).items():
        if standing.refused is None:
            return {}
        found.setdefault(standing.refused, []).append(name)
    return found


def _path(ask: Ask) -> str:
    return ask.route.path if ask.route is not None else "-"


def listed(names: Iterable[str]) -> str:
    """Names in order, with commas."""
    return ", ".join(sorted(names))


def _quoted(names: Iterable[str], between: str = ", ") -> str:
    return between.join(f"`{name}`" for name in sorted(names))
