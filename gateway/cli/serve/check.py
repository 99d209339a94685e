"""The command that says whether a configuration is sound, and whether Productlane takes its keys."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import REFUSED, config_option, json_option, loaded, location, print_json
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.cli.keys.online import KeyReport
    from gateway.config.assembly.snapshot import Snapshot


@click.command()
@config_option
@click.option("--online", is_flag=True, help="Ask Productlane's /me for every secret as well.")
@json_option
def check(config: Path | None, online: bool, as_json: bool) -> None:
    """Check the configuration, its policies and its secrets.

    Reads everything that `serve` would read and opens nothing. Every problem is told at once, each with file, line and
    key. With --online, each secret is shown to Productlane's GET /me, and told is whether it is taken, which scopes it
    carries, which of those that the policies need are missing, which are carried for nobody, and what would mend it.

    \b
        productlane-gateway check --config gateway.yaml
        productlane-gateway check --config gateway.yaml --online

    Exit status: 0 where all is well; 1 with --online, where a secret is rejected, unsupported, of another workspace or
    could not be asked about, or a scope is missing; 2 where the configuration has problems.
    """
    snapshot = loaded(config, as_json=as_json)
    source = location(config)
    keys = _ask(snapshot) if online else None
    if as_json:
        print_json(_facts(source, snapshot, keys))
    else:
        click.echo(_summary(source, snapshot))
        if keys is not None:
            click.echo("\n" + _keys_table(keys))
    if keys is not None and any(key.faults for key in keys):
        raise SystemExit(REFUSED)


def _ask(snapshot: "Snapshot") -> "list[KeyReport]":
    import asyncio

    from gateway.cli.keys.online import ask

    return asyncio.run(ask(snapshot))


def _facts(source: str, snapshot: "Snapshot", keys: "list[KeyReport] | None") -> dict[str, object]:
    facts: dict[str, object] = {
        "ok": not any(key.faults for key in keys or ()),
        "config": source,
        "listen": str(snapshot.listen),
        "admin": str(snapshot.admin),
        "upstream": snapshot.upstream.url,
        "callers": sorted(snapshot.policies),
        "keys": {key.name: len(key.slots) for key in snapshot.keys.values()},
        "routes": [
            {"path": route.path, "callers": sorted(route.callers), "keys": list(route.keys)}
            for route in snapshot.routes.all
        ],
    }
    if keys is not None:
        facts["online"] = [key.facts() for key in keys]
    return facts


def _summary(source: str, snapshot: "Snapshot") -> str:
    keys = (
        f"{key.name} ({len(key.slots)} secrets)" if len(key.slots) > 1 else key.name for key in snapshot.keys.values()
    )
    routes = (
        f"{route.path} → {', '.join(route.keys)}"
        + (f" for {', '.join(sorted(route.callers))}" if route.callers else "")
        for route in snapshot.routes.all
    )
    rows = [
        ("listen", str(snapshot.listen)),
        ("admin", str(snapshot.admin)),
        ("upstream", snapshot.upstream.url),
        ("callers", ", ".join(_caller(snapshot, name) for name in sorted(snapshot.policies))),
        ("keys", ", ".join(keys)),
        *(("" if n else "routes", route) for n, route in enumerate(routes)),
    ]
    return f"{source}: no problems\n" + table(rows, "  ")


def _caller(snapshot: "Snapshot", name: str) -> str:
    notes = ["anonymous"] if snapshot.callers.anonymous == name else []
    policy = snapshot.policies[name]
    if policy.audit:
        notes.append("audit")
    if policy.expires is not None:
        notes.append(f"until {policy.expires}")
    return f"{name} ({', '.join(notes)})" if notes else name


def _keys_table(keys: "list[KeyReport]") -> str:
    rows = [("key", "slot", "preview", "state", "workspace", "missing", "excess", "scopes")]
    for key in keys:
        for slot in key.slots:
            scopes = "?" if slot.scopes is None else listed(slot.scopes)
            # Drift is of the secret in use; beside another one it would say something that is not so.
            own = slot.state == "active"
            missing, excess = (listed(key.missing), listed(key.excess)) if own else ("", "")
            rows.append((key.name, slot.slot, slot.preview, slot.state, slot.workspace or "?", missing, excess, scopes))
    faults = [f"{key.name}: {fault}" for key in keys for fault in key.faults]
    advice = [f"{key.name}: {said}" for key in keys for said in key.advice]
    told = [line for lines in (faults, advice) if lines for line in ("", *lines)]
    return "\n".join([table(rows), *told])
