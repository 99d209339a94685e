"""The command that shows what a change of policies changes."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from gateway.cli.policies.new import new
from gateway.cli.settings import REFUSED, catalog_option, fail, json_option, print_json, unusable, utc_today

if TYPE_CHECKING:
    from gateway.cli.policies.changes import Change, Logged
    from gateway.config.reading.problem import Problem
    from gateway.telemetry.access_log import AccessLog

_PLACE = click.Path(path_type=Path, exists=True)


@click.group()
def policy() -> None:
    """Begin a policy, or compare policies before a change is deployed.

    \b
        productlane-gateway policy new billing --scope companies:read
        productlane-gateway policy diff old/ policies/

    Exit status: 0, 1 or 2, as each command says.
    """


policy.add_command(new)


@policy.command()
@click.argument("old", type=_PLACE)
@click.argument("new", type=_PLACE)
@click.option(
    "--against",
    type=click.File("rb"),
    metavar="ACCESS_LOG",
    help="Say which requests of this log of the gateway, in JSON, would come to something else; - reads from a pipe.",
)
@catalog_option("Take the catalog's extra endpoints from this gateway.yaml")
@click.option(
    "--fail-on",
    type=click.Choice(["change", "loss", "never"]),
    default="change",
    show_default=True,
    help="When to exit with 1: if any verdict changes; if something that was let through would be refused, with "
    "--against something that was requested; or not at all.",
)
@json_option
def diff(old: Path, new: Path, against: IO[bytes] | None, config: Path | None, fail_on: str, as_json: bool) -> None:
    """Show what changes for whom between OLD and NEW.

    Each is a folder of policies or a single file. Prints the settings that differ, and each endpoint of the catalog
    for which a caller's verdict changes, decided as of today by the function that serves requests. A
    verdict is `allow`, `would_deny` (let through by `mode: audit`), `scope_required`, `forbidden`, or `no_policy` where
    the caller has none.

    \b
        productlane-gateway policy diff old/ policies/
        productlane-gateway policy diff old/ policies/ --against access.log --fail-on loss
        kubectl logs deploy/gateway --since=24h | productlane-gateway policy diff old/ policies/ --against -

    What is deployed, beside a branch that changes it:

    \b
        git archive origin/main policies | tar -x -C /tmp
        productlane-gateway policy diff /tmp/policies policies/

    Exit status: 0 where no verdict changes, 1 where one does (see --fail-on), 2 where a file cannot be used.
    """
    from gateway.cli.policies.changes import Logged, changes_of, facts, text
    from gateway.cli.policies.policy_sets import place_and_catalog, policies_at
    from gateway.core.comparison import compare

    problems: list[Problem] = []
    _, catalog = place_and_catalog(config, problems)
    before, after = ({file.policy.caller: file for file in policies_at(p, catalog, problems)} for p in (old, new))
    if problems:
        unusable(problems)
    differences = compare(
        {caller: file.policy for caller, file in before.items()},
        {caller: file.policy for caller, file in after.items()},
        catalog.endpoints,
        utc_today(),
    )
    changes = changes_of(differences, before, after)
    logged = Logged(_read(against)) if against is not None else None
    if as_json:
        print_json(facts(changes, logged))
    else:
        click.echo(text(changes, logged))
    if _fails(changes, logged, fail_on):
        raise SystemExit(REFUSED)


def _read(stream: IO[bytes]) -> "AccessLog":
    from gateway.telemetry.access_log import read_access_log

    log = read_access_log(stream)
    if not log.all.count:
        fail(f"{stream.name} holds no request of a gateway's log in JSON (`log.format: json`)")
    return log


def _fails(changes: "Iterable[Change]", logged: "Logged | None", fail_on: str) -> bool:
    verdicts = [verdict for change in changes for verdict in change.verdicts]
    if fail_on == "change":
        return bool(verdicts)
    lost = [verdict for verdict in verdicts if verdict.lost]
    return fail_on == "loss" and bool(lost if logged is None else logged.count(lost))
