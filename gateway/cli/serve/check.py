"""The command that says whether a configuration is sound, and whether Productlane takes its keys."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.settings import REFUSED, config_option, json_option, loaded, location, print_json, utc_today
from gateway.cli.table import listed, table

if TYPE_CHECKING:
    from gateway.config.assembly.snapshot import Snapshot
    from gateway.telemetry.status import IssuerStatus, KeyStatus

    Online = tuple[Sequence[KeyStatus], Sequence[IssuerStatus]]


@click.command()
@config_option
@click.option(
    "--online", is_flag=True, help="Ask Productlane's /me for every secret as well, and issuers for their keys."
)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings as well, for a build.")
@json_option
def check(config: Path | None, online: bool, strict: bool, as_json: bool) -> None:
    """Check the configuration, its policies and its secrets.

    Reads everything that `serve` would read and opens nothing. Prints every problem at once, each with file, line and
    key. With --online, each secret is shown to Productlane's GET /me: the table says whether it is accepted, which
    scopes it carries, which scopes of policies it lacks, which scopes no request needs, and the fix. Each issuer of
    callers' tokens is asked for its keys. A warning, such as a grant that has ended, is no problem.

    \b
        productlane-gateway check --config gateway.yaml
        productlane-gateway check --config gateway.yaml --online --strict

    Exit status: 0 where all is well; 1 with --online, where a secret is rejected, unsupported, of another workspace or
    could not be asked about, a scope is missing, or an issuer's keys cannot be fetched; 1 with --strict where there is
    a warning; 2 where the configuration has problems.
    """
    snapshot = loaded(config)
    source = location(config)
    answers = _ask(snapshot) if online else None
    found = warnings(snapshot, utc_today())
    if as_json:
        print_json(_facts(source, snapshot, answers) | {"warnings": found})
    else:
        click.echo(_summary(source, snapshot))
        for warning in found:
            click.echo(f"warning: {warning}", err=True)
        if answers is not None:
            click.echo("\n" + "\n\n".join(filter(None, (_keys_table(answers[0]), _issuers_table(answers[1])))))
    if (answers is not None and any(_faults(answers))) or (strict and found):
        raise SystemExit(REFUSED)


def warnings(snapshot: "Snapshot", today: date) -> list[str]:
    """What the gateway would serve with and somebody should look at, a sentence each. ``today`` is in UTC."""
    ended = [
        f"policy {policy.caller}: grants nothing since {policy.expires}; set a later date or remove the policy"
        for policy in snapshot.policies.values()
        if policy.expires is not None and policy.expires <= today
    ]
    return ended + [
        f"policies {caller} and {other}: one token could fit both ({how}), and would be refused; "
        "make one of them narrower, or give both a claim that differs"
        for caller, other, how in snapshot.callers.overlaps()
    ]


def _ask(snapshot: "Snapshot") -> "Online":
    import asyncio

    from gateway.cli.keys.online import ask, ask_issuers

    async def both() -> "Online":
        return await ask(snapshot), await ask_issuers(snapshot)

    return asyncio.run(both())


def _facts(source: str, snapshot: "Snapshot", answers: "Online | None") -> dict[str, object]:
    facts: dict[str, object] = {
        "ok": answers is None or not _faults(answers),
        "config": source,
        "listen": str(snapshot.settings.listen),
        "admin": str(snapshot.settings.admin),
        "upstream": snapshot.settings.upstream.url,
        "callers": sorted(snapshot.policies),
        "keys": {key.name: len(key.slots) for key in snapshot.keys.values()},
        "routes": [
            {"path": route.path, "callers": sorted(route.callers), "keys": list(route.keys)}
            for route in snapshot.routes.all
        ],
    }
    if answers is not None:
        import msgspec

        facts["online"] = [_key_facts(key) for key in answers[0]]
        facts["issuers"] = msgspec.to_builtins(answers[1])
    return facts


def _key_facts(key: "KeyStatus") -> dict[str, object]:
    """The status of a key as ``/status.json`` has it, and what is wrong with it."""
    import msgspec

    from gateway.cli.keys.online import faults, slot_fault

    facts: dict[str, Any] = msgspec.to_builtins(key)
    del facts["budgets"]
    for told, slot in zip(facts["slots"], key.slots, strict=True):
        told["fault"] = slot_fault(slot) or slot.fault
    return facts | {"faults": faults(key)}


def _faults(answers: "Online") -> list[str]:
    keys, issuers = answers
    return [*_key_faults(keys), *(f"issuer {issuer.name}: {issuer.fault}" for issuer in issuers if not issuer.up)]


def _key_faults(keys: "Sequence[KeyStatus]") -> list[str]:
    from gateway.cli.keys.online import faults

    return [f"{key.name}: {fault}" for key in keys for fault in faults(key)]


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
        ("listen", str(snapshot.settings.listen)),
        ("admin", str(snapshot.settings.admin)),
        ("upstream", snapshot.settings.upstream.url),
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


def _keys_table(keys: "Sequence[KeyStatus]") -> str:
    rows = [("key", "slot", "preview", "state", "workspace", "missing", "excess", "scopes")]
    for key in keys:
        for slot in key.slots:
            scopes = "?" if slot.scopes is None else listed(slot.scopes)
            # Drift is of the secret in use; beside another one it would say something that is not so.
            own = slot.state == "active"
            missing, excess = (listed(key.missing or ()), listed(key.excess or ())) if own else ("", "")
            rows.append(
                (key.name, slot.slot, slot.preview or "", slot.state, slot.workspace or "?", missing, excess, scopes)
            )
    advice = [f"{key.name}: {said}" for key in keys for said in key.advice]
    told = [line for lines in (_key_faults(keys), advice) if lines for line in ("", *lines)]
    return "\n".join([table(rows), *told])


def _issuers_table(issuers: "Sequence[IssuerStatus]") -> str:
    rows = [(one.name, one.issuer, str(one.keys), "up" if one.up else one.fault or "") for one in issuers]
    return table([("issuer", "url", "keys", "state"), *rows]) if rows else ""
