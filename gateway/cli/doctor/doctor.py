"""The command that walks the chain from files to Productlane and says what is wrong and how to mend it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import config_option, configured, json_option, print_json, utc_today
from gateway.cli.table import table

if TYPE_CHECKING:
    from gateway.cli.doctor.finding import Finding
    from gateway.config.assembly.snapshot import Snapshot


@click.command()
@config_option
@click.option("--offline", is_flag=True, help="Look at files, listeners and limits alone; ask no other host.")
@json_option
def doctor(config: Path | None, offline: bool, as_json: bool) -> None:
    """Look for what is wrong around the gateway, and say how to mend it.

    From a laptop or inside the pod: the configuration with its policies, the files of secrets with their permissions
    and mounts, the listeners, certificates that end soon, limits of open files and memory; then DNS, TCP, TLS and clock
    on the way to Productlane, what `/me` says about each secret, scopes against routes and policies, Redis, the issuers
    of callers' tokens, and the budgets of a gateway that runs here. Nothing is changed.

    \b
        productlane-gateway doctor --config gateway.yaml
        kubectl exec deploy/gateway -- productlane-gateway doctor --json

    Exit status: 0 where nothing is wrong, 1 where there are warnings only, 2 where there is an error.
    """
    from gateway.cli.doctor.finding import Severity

    found = list(_findings(config, offline=offline))
    if as_json:
        print_json([one._asdict() for one in found])
    else:
        click.echo(_text(found))
    worst = max((list(Severity).index(one.severity) for one in found), default=0)
    raise SystemExit(worst)


def _text(found: "list[Finding]") -> str:
    rows = table([(one.severity.value, one.check, one.what) for one in found]).splitlines()
    fixes = [f"\n    → {one.fix}" if one.fix else "" for one in found]
    return "\n".join(row + fix for row, fix in zip(rows, fixes, strict=True))


def _findings(config: Path | None, *, offline: bool) -> "Iterator[Finding]":
    from gateway.cli.doctor import network

    whole, snapshot, problems = _loaded(config)
    yield from problems
    if snapshot is None:
        return
    yield from _of_machine(snapshot)
    if offline:
        return
    yield from network.upstream(snapshot, time.time())
    if whole:
        yield from _of_peers(snapshot)


def _loaded(config: Path | None) -> "tuple[bool, Snapshot | None, list[Finding]]":
    """The configuration, with its secrets where they can be read (the first value), and what is wrong with it."""
    import os

    from gateway.cli.doctor.finding import Id, ok, wrong
    from gateway.config.load import load
    from gateway.config.reading.problem import ConfigError

    path = configured(config)
    try:
        return True, load(path, environ=os.environ), [ok("configuration", f"{path or 'environment'}: no problems")]
    except ConfigError as failure:
        found = [wrong(Id.CONFIGURATION, str(problem)) for problem in failure.problems]
    try:
        return False, load(path, environ=os.environ, offline=True), found
    except ConfigError:
        return False, None, found


def _of_machine(snapshot: "Snapshot") -> "Iterator[Finding]":
    import resource

    from gateway.cli.doctor import files, machine

    yield from files.files(snapshot, files.mounts())
    yield from machine.policies(snapshot, utc_today())
    yield from machine.listeners(snapshot)
    yield from files.ends(snapshot, time.time())
    yield from machine.limits(snapshot, resource.getrlimit(resource.RLIMIT_NOFILE)[1], machine.memory_limit())


def _of_peers(snapshot: "Snapshot") -> "Iterator[Finding]":
    import asyncio

    from gateway.cli.doctor import network
    from gateway.cli.keys.replicas import ask_all
    from gateway.config.store import Redis

    async def asked() -> "list[Finding]":
        found = [*await network.keys(snapshot), *await network.issuers(snapshot)]
        if isinstance(snapshot.store, Redis):
            found.append(await network.redis(snapshot.store))
        return found

    yield from asyncio.run(asked())
    for answer in ask_all([str(snapshot.settings.admin)]).answers:
        if answer.status is not None:
            yield from network.budgets(answer.status)
