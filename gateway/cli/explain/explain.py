"""The command that says what the gateway would answer to a request, and why, without sending it."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from gateway.cli.settings import REFUSED, config_option, fail_unknown, json_option, loaded, print_json, utc_today
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.config.assembly.snapshot import Snapshot
    from gateway.core.catalog import Endpoint
    from gateway.core.policy import Policy
    from gateway.core.refusal import Refused
    from gateway.core.rule import Ask, Rule
    from gateway.telemetry.status import KeyStatus

Facts: TypeAlias = dict[str, Any]

# What is known about a request whose target cannot be read.
_NOTHING: Final[Facts] = {"endpoint": None, "route": None, "key": None, "key_choice": None, "routes": [], "keys": []}


@click.command()
@click.option("--caller", required=True, metavar="NAME", help="The caller, as its policy names it.")
@click.argument("method")
@click.argument("path")
@config_option
@click.option("--online", is_flag=True, help="Ask Productlane's /me which scopes each key carries now.")
@json_option
def explain(caller: str, method: str, path: str, config: Path | None, online: bool, as_json: bool) -> None:
    """Say what a caller's request would come to, and why.

    PATH is the API's, with or without /api/v2; a query may follow, and a placeholder such as {id} stands for any id.
    The rules that serve requests decide, in their order. The request itself is never sent. Without --online only files
    are read and no secret is needed; with it, Productlane is asked for each key's scopes, so the key is the one that
    would serve.

    \b
        productlane-gateway explain --caller billing POST /companies/c_1/merge
        productlane-gateway explain --caller billing GET /companies --online --json

    Prints the verdict, the status and code of a refusal and what would change it, every rule up to the one that
    decided, and each route and key that might serve it with the reason why it does or does not. What `mode: audit`
    alone lets through counts as allowed and is shown as would_deny.

    Exit status: 0 where the request is allowed, 1 where it is refused, 2 where the configuration has problems or
    there is no such caller.
    """
    if not (method.isascii() and method.isalpha() and method.isupper()):
        raise click.BadParameter("methods are written in capitals, as GET", param_hint="METHOD")
    snapshot = loaded(config, offline=not online)
    policy = snapshot.policies.get(caller)
    if policy is None:
        fail_unknown("no policy for caller", caller, snapshot.policies, "callers")
    reports = _ask(snapshot) if online else None
    facts = explained(snapshot, policy, method, path, utc_today(), reports)
    if as_json:
        print_json(facts)
    else:
        click.echo(_in_words(facts))
    if facts["verdict"] != "allow":
        raise SystemExit(REFUSED)


def _ask(snapshot: "Snapshot") -> "Iterable[KeyStatus]":
    import asyncio

    from gateway.cli.keys.online import ask

    return asyncio.run(ask(snapshot))


def explained(
    snapshot: "Snapshot",
    policy: "Policy",
    method: str,
    path: str,
    today: date,
    reports: "Iterable[KeyStatus] | None" = None,
) -> Facts:
    """Everything that is known about a request before it is sent. ``today`` is in UTC.

    ``reports`` are what Productlane says about the keys; without them their scopes are not known.
    """
    from gateway.cli.explain.candidates import key_candidates, route_candidates, standings
    from gateway.core.decision import ask, final_rule, trace, trace_unread
    from gateway.core.refusal import Refused
    from gateway.core.target import read_target

    raw = _raw(path)
    about = {
        "caller": policy.caller,
        "authenticate": snapshot.callers.of(policy.caller),
        "request": f"{method} {raw}",
    }
    try:
        target = read_target(method, raw)
    except Refused as unread:
        return _refusal(unread) | about | _NOTHING | {"rules": [step._asdict() for step in trace_unread(unread)]}
    asked = ask(target, policy, snapshot.catalog, snapshot.routes, today)
    allowing = final_rule(asked)
    if allowing.allows and asked.route is not None:
        asked = asked._replace(standings=standings(asked.route, reports))
    final = final_rule(asked)
    route = asked.route if allowing.allows else None
    keys = key_candidates(asked)
    key = next((one for one in keys if one.chosen), None)
    outcome = _refusal(final.refusal(asked)) if not final.allows else _allowed(final, asked)
    return {
        **outcome,
        **about,
        "endpoint": _endpoint(asked.endpoint),
        "route": route and {"path": route.path, "callers": sorted(route.callers), "keys": list(route.keys)},
        "key": key and key.key,
        "key_choice": key and key.why,
        "rules": [step._asdict() for step in trace(asked, key.why if key else "")],
        "routes": [asdict(one) for one in route_candidates(snapshot.routes, asked)] if route else [],
        "keys": [asdict(one) for one in keys],
    }


def _raw(path: str) -> str:
    """The target that a path of the command line means: a template stands for any id, and the base may be left out.

    Of a URL that somebody pastes, the host is dropped.
    """
    from gateway.core.target import BASE

    path = re.sub(r"^https?://[^/?#]*(?=/)", "", path)
    path = re.sub(r"\{[^{}/?]*\}", "id", path)
    return path if path.startswith("/api/") or not path.startswith("/") else BASE + path


def _refusal(refused: "Refused") -> Facts:
    return {
        "verdict": "refuse",
        "status": refused.status,
        "code": refused.code.value,
        "reason": refused.reason.value,
        "message": refused.message,
        "fix": refused.note,
        "would_deny": None,
        "decided_by": refused.decided_by,
    }


def _allowed(rule: "Rule", asked: "Ask") -> Facts:
    return {
        "verdict": "allow",
        "status": None,
        "code": None,
        "reason": rule.reason.value,
        "message": None,
        "fix": None,
        "would_deny": rule.reason.value if rule.would_deny else None,
        "decided_by": rule.says(asked).decided_by,
    }


def _endpoint(endpoint: "Endpoint") -> Facts | None:
    if not endpoint.name.strip():
        return None
    return {
        "name": endpoint.name,
        "scopes": sorted(endpoint.scopes),
        "lane": endpoint.lane.value,
        "guarded": endpoint.guarded,
    }


def _in_words(facts: Facts) -> str:
    endpoint, route = facts["endpoint"], facts["route"]
    rows = [
        ("verdict", _verdict(facts)),
        ("reason", facts["reason"]),
        ("decided by", facts["decided_by"]),
        ("message", facts["message"]),
        ("to change it", facts["fix"]),
        ("caller", facts["caller"]),
        ("known by", "; ".join(f"{kind}: {', '.join(texts)}" for kind, texts in facts["authenticate"].items())),
        ("request", facts["request"]),
        ("endpoint", endpoint and _endpoint_in_words(endpoint)),
        (
            "route",
            route and route["path"] + (f"  (for {', '.join(route['callers'])})" if route["callers"] else ""),
        ),
        ("keys", route and ", ".join(route["keys"])),
        ("key", facts["key"] and f"{facts['key']}: {facts['key_choice']}"),
    ]
    parts = [table([(name, text) for name, text in rows if text])]
    parts.append(table([("rule", "outcome", "why"), *((r["rule"], r["outcome"], r["why"]) for r in facts["rules"])]))
    if len(facts["routes"]) > 1:
        paths = [(_mark(route) + route["path"], route["why"]) for route in facts["routes"]]
        parts.append(table([("  route", "why"), *paths]))
    if len(facts["keys"]) > 1:
        carried = [("?" if key["scopes"] is None else listed(key["scopes"])) for key in facts["keys"]]
        names = [_mark(key) + key["key"] for key in facts["keys"]]
        whys = [key["why"] for key in facts["keys"]]
        parts.append(table([("  key", "scopes", "why"), *zip(names, carried, whys, strict=True)]))
    return "\n\n".join(parts)


def _verdict(facts: Facts) -> str:
    if facts["verdict"] != "allow":
        return f"refused with {facts['status']} {facts['code']}"
    return "allowed, by `mode: audit` alone (would_deny)" if facts["would_deny"] else "allowed"


def _endpoint_in_words(endpoint: Facts) -> str:
    scopes = f"needs {listed(endpoint['scopes'])}" if endpoint["scopes"] else "needs no scope"
    return f"{endpoint['name']}  ({scopes}; lane {endpoint['lane']}{'; guarded' if endpoint['guarded'] else ''})"


def _mark(candidate: Facts) -> str:
    return "→ " if candidate["chosen"] else "  "
