"""The command that says what the gateway would answer to a request, and why, without sending it."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from gateway.cli.settings import REFUSED, config_option, fail, json_option, loaded, print_json
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.config.snapshot import Snapshot
    from gateway.core.policy import Policy
    from gateway.core.refusal import Refused
    from gateway.core.verdict import Verdict

Facts: TypeAlias = dict[str, Any]


@click.command()
@click.option("--caller", required=True, metavar="NAME", help="The caller, as its policy names it.")
@click.argument("method")
@click.argument("path")
@config_option
@json_option
def explain(caller: str, method: str, path: str, config: Path | None, as_json: bool) -> None:
    """Say what a caller's request would come to, and why.

    PATH is the API's, with /api/v2 before it or without; a query may follow. Decided by the very functions that serve
    requests, in their order, from the files alone: nothing is sent.

    \b
        productlane-gateway explain --caller billing POST /companies/c_1/merge

    Told are the verdict, the status and code of a refusal and what would change it, what in the policy decided, the
    endpoint with its scopes, the route and its keys.

    Exit status: 0 where the request is allowed, 1 where it is refused, 2 where the configuration has problems or
    there is no such caller.
    """
    if not (method.isascii() and method.isalpha() and method.isupper()):
        raise click.BadParameter("methods are written in capitals, as GET", param_hint="METHOD")
    snapshot = loaded(config, as_json=as_json)
    policy = snapshot.policies.get(caller)
    if policy is None:
        from gateway.config.problem import did_you_mean, shown

        known = f"; there are {', '.join(sorted(snapshot.policies))}"
        fail(f"no policy is of caller {shown(caller)}{did_you_mean(caller, snapshot.policies) or known}")
    facts = explained(snapshot, policy, method, path, datetime.now(UTC).date())
    if as_json:
        print_json(facts)
    else:
        click.echo(_in_words(facts))
    if facts["verdict"] != "allow":
        raise SystemExit(REFUSED)


def explained(snapshot: "Snapshot", policy: "Policy", method: str, path: str, today: date) -> Facts:
    """Everything that can be said of a request before it is sent. ``today`` is in UTC."""
    from gateway.core.refusal import Refused
    from gateway.core.target import BASE, read_target
    from gateway.core.verdict import Verdict, judge

    raw = path if path.startswith("/api/") or not path.startswith("/") else BASE + path
    try:
        verdict = judge(read_target(method, raw), policy, snapshot.catalog, snapshot.routes, today)
    except Refused as unreadable:
        verdict = Verdict(refused=unreadable)
    keys, by_keys = _keys(snapshot, verdict)
    refused = verdict.refused or by_keys
    return {
        "verdict": "refuse" if refused else "allow",
        **_outcome(verdict, refused),
        "caller": policy.caller,
        "request": f"{method} {raw}",
        "endpoint": _endpoint(verdict),
        "route": _route(verdict),
        "decided_by": _decided_by(verdict, refused, policy),
        **keys,
    }


def _outcome(verdict: "Verdict", refused: "Refused | None") -> Facts:
    if refused is not None:
        return {
            "status": refused.status,
            "code": refused.code.value,
            "reason": refused.reason.value,
            "message": refused.message,
            "fix": refused.note if refused.note != refused.message else None,
            "would_deny": None,
        }
    permit = verdict.permit
    return {
        "status": None,
        "code": None,
        "reason": permit.reason.value if permit else None,
        "message": None,
        "fix": None,
        "would_deny": permit.would_deny.value if permit and permit.would_deny else None,
    }


def _endpoint(verdict: "Verdict") -> Facts | None:
    endpoint = verdict.endpoint
    if endpoint is None:
        return None
    return {
        "name": endpoint.name,
        "scopes": sorted(endpoint.scopes),
        "lane": endpoint.lane.value,
        "guarded": endpoint.guarded,
    }


def _route(verdict: "Verdict") -> Facts | None:
    route = verdict.route
    return {"path": route.path, "callers": sorted(route.callers), "keys": list(route.keys)} if route else None


def _decided_by(verdict: "Verdict", refused: "Refused | None", policy: "Policy") -> str:
    """What in the configuration decided, by its setting."""
    from gateway.core.refusal import Reason

    endpoint = verdict.endpoint
    reason = refused.reason if refused else verdict.permit.reason if verdict.permit else None
    if endpoint is None:
        return "the request itself" if reason is Reason.TARGET else "the catalog"
    words = {
        Reason.EXPIRED: f"policy {policy.caller}, expires: {policy.expires}",
        Reason.DENIED: f"policy {policy.caller}, deny: {endpoint.name}",
        Reason.ENDPOINT_NAMED: f"policy {policy.caller}, endpoints: {endpoint.name}",
        Reason.GUARDED: f"the catalog, guarded: {endpoint.name}",
        Reason.SCOPE_HELD: f"policy {policy.caller}, scopes: {listed(endpoint.scopes)}",
        Reason.ANY_KEY: "the catalog: this endpoint needs no scope",
        Reason.NO_ROUTE: "routes",
    }
    if refused is None and reason is Reason.SCOPE_NOT_GRANTED:
        return f"policy {policy.caller}, mode: audit"
    lacking = f"policy {policy.caller}, scopes: without {listed(endpoint.scopes - policy.scopes)}"
    return words.get(reason, lacking) if reason else lacking


def _keys(snapshot: "Snapshot", verdict: "Verdict") -> tuple[Facts, "Refused | None"]:
    """Which key would serve, as far as files can tell: no identity is known, as when Productlane cannot be asked."""
    from gateway.core.refusal import Refused
    from gateway.core.routing import Standing, choose_key

    route, permit = verdict.route, verdict.permit
    if route is None or permit is None:
        return {"key": None, "key_choice": None}, None
    standings = {
        name: Standing() if any(slot.secret for slot in snapshot.keys[name].slots) else Standing(refused="missing")
        for name in route.keys
    }
    try:
        key = choose_key(route, permit, standings)
    except Refused as refused:
        return {"key": None, "key_choice": None}, refused
    needed = listed(permit.endpoint.scopes)
    if permit.endpoint.name == "GET /me":
        choice = "answered by the gateway from what is known of the key with the fewest scopes, cut to this caller's"
    elif len(route.keys) == 1:
        choice = "the route's only key"
    elif permit.endpoint.scopes:
        choice = f"the first of the route; once scopes are known, the one with the fewest that carries {needed}"
    else:
        choice = "the first of the route; once scopes are known, the one with the fewest"
    return {"key": key, "key_choice": choice}, None


def _in_words(facts: Facts) -> str:
    verdict = "allowed"
    if facts["verdict"] != "allow":
        verdict = f"refused with {facts['status']} {facts['code']}"
    elif facts["would_deny"]:
        verdict = "allowed, by `mode: audit` alone"
    endpoint, route = facts["endpoint"], facts["route"]
    scopes = "needs no scope"
    if endpoint is not None and endpoint["scopes"]:
        scopes = f"needs {listed(endpoint['scopes'])}"
    rows = [
        ("verdict", verdict),
        ("reason", facts["reason"]),
        ("decided by", facts["decided_by"]),
        ("message", facts["message"]),
        ("to change it", facts["fix"]),
        ("caller", facts["caller"]),
        ("request", facts["request"]),
        (
            "endpoint",
            endpoint
            and f"{endpoint['name']}  ({scopes}; lane {endpoint['lane']}{'; guarded' if endpoint['guarded'] else ''})",
        ),
        (
            "route",
            route and route["path"] + (f"  (for {', '.join(route['callers'])})" if route["callers"] else ""),
        ),
        ("keys", route and ", ".join(route["keys"])),
        ("key", facts["key"] and f"{facts['key']}: {facts['key_choice']}"),
    ]
    return table([(name, text) for name, text in rows if text])
