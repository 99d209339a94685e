"""The command that says what each caller needs of what its policy grants."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from gateway.cli.settings import (
    REFUSED,
    catalog_option,
    fail,
    fail_unknown,
    json_option,
    print_json,
    unusable,
    utc_today,
)

if TYPE_CHECKING:
    from gateway.cli.policies.observed import Observed
    from gateway.cli.policies.review import Review
    from gateway.config.assembly.policies import PolicyFile
    from gateway.config.reading.problem import Problem
    from gateway.core.catalog import Catalog


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@catalog_option("Take the folder and the catalog's extra endpoints from this gateway.yaml")
@click.option(
    "--admin",
    "addresses",
    metavar="URL",
    multiple=True,
    help="Admin listener to ask; a name stands for every address that it resolves to. May be given more than once.  "
    "[default: http://127.0.0.1:9090]",
)
@click.option(
    "--access-log",
    "logs",
    type=click.File("rb"),
    metavar="FILE",
    multiple=True,
    help="Read this log of the gateway, in JSON, instead of asking; - reads from a pipe. May be given more than once.",
)
@click.option(
    "--caller", "wanted", metavar="NAME", multiple=True, help="Only this caller. May be given more than once."
)
@click.option(
    "--grant-audited", is_flag=True, help="Grant in the suggestion what `mode: audit` alone let through, as well."
)
@click.option("--exact", is_flag=True, help="Name single endpoints in the suggestion, and no scopes.")
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the suggested policies there, and the others and the truth tables as they are. The folder must be new "
    "or empty.",
)
@click.option("--force", is_flag=True, help="Let --write replace files of a folder that is not empty.")
@click.option("--summary", is_flag=True, help="One line for each caller.")
@json_option
def report(
    folder: Path | None,
    config: Path | None,
    addresses: tuple[str, ...],
    logs: tuple[IO[bytes], ...],
    wanted: tuple[str, ...],
    grant_audited: bool,
    exact: bool,
    target: Path | None,
    force: bool,
    summary: bool,
    as_json: bool,
) -> None:
    """Say what each caller used of what its policy grants, and suggest the least that would do.

    FOLDER holds the policies, `policies/` by default. What was used is asked of running gateways, which count since
    their start, or read from an access log. For each caller: what it is granted and when that was last needed, which
    endpoints it asked for, what enforcing a policy in `mode: audit` would refuse, and the policy cut to what was used,
    ready to paste or to --write.

    \b
        productlane-gateway report
        productlane-gateway report --admin http://gateway-headless:9090 --write narrower/
        productlane-gateway report --access-log access.log --caller billing

    A scope stays in the suggestion if a request used it. An endpoint that the policy names stays if it was used
    itself. `deny` and everything else stays. Nothing is granted that was not, unless
    --grant-audited says so; a caller of whom nothing was seen gets no suggestion. Prove the change with `policy diff`.

    Exit status: 0 where all that is granted was used and enforcing it refuses nothing, 1 where that is not so or a
    gateway did not answer, 2 where there is nothing to go by.
    """
    from gateway.cli.policies.policy_sets import place_and_catalog, policies_at
    from gateway.cli.policies.review import review
    from gateway.cli.policies.review_text import facts, in_short, text

    if logs and addresses:
        raise click.UsageError("--admin and --access-log are two sources; give one")
    problems: list[Problem] = []
    named, catalog = place_and_catalog(config, problems)
    files = policies_at(folder or named, catalog, problems)
    if problems:
        unusable(problems)
    callers = [file.policy.caller for file in files]
    for name in wanted:
        if name not in callers:
            fail_unknown("no policy for caller", name, callers, "callers")
    seen = _observed(addresses, logs)
    day = utc_today()
    reviews = [
        review(file, seen.of(file.policy.caller), catalog, day, grant_audited=grant_audited, exact=exact)
        for file in files
        if not wanted or file.policy.caller in wanted
    ]
    suggested = {one.file.file: _suggested(one, catalog) for one in reviews if one.changed}
    unruled = sorted(seen.callers.difference(callers, ("-", "other")))
    written = [] if target is None else _write(target, files, suggested, force=force)
    if as_json:
        print_json(facts(reviews, suggested, seen, unruled))
    else:
        click.echo(in_short(reviews, seen) if summary else text(reviews, suggested, seen, unruled))
        for line in written:
            click.echo(line, err=True)
    if seen.faults or any(one.unused or one.losses for one in reviews):
        raise SystemExit(REFUSED)


def _observed(addresses: Sequence[str], logs: Sequence[IO[bytes]]) -> "Observed":
    from gateway.cli.keys.replicas import BadAddress, ask_all, nobody_answered, status_token
    from gateway.cli.policies.observed import from_gateways, from_logs

    if logs:
        seen = from_logs(logs)
        if not seen.since:
            fail(f"{seen.source} holds no request of a gateway's log in JSON (`log.format: json`)")
        return seen
    try:
        asked = ask_all(addresses or ("http://127.0.0.1:9090",), token=status_token())
    except BadAddress as error:
        fail(str(error))
    if not asked.replicas:
        fail(nobody_answered(asked))
    return from_gateways(asked.answers)


def _suggested(one: "Review", catalog: "Catalog") -> str:
    from gateway.cli.policies.policy_text import with_grants

    assert one.suggestion is not None  # noqa: S101 - `changed` says so
    return with_grants(one.file.file.read_text("utf-8"), one.file, one.suggestion, catalog)


def _write(target: Path, files: "Sequence[PolicyFile]", suggested: dict[Path, str], *, force: bool) -> list[str]:
    """Write every policy into a folder, so that the folder can be compared and used as a whole; says what was written.

    A folder that holds anything may be the one that a gateway serves, so it takes ``force``.
    """
    from gateway.cli.policies.folder import write_folder

    texts = {file.file.name: suggested.get(file.file) or file.file.read_text("utf-8") for file in files}
    texts |= {file.cases.name: file.cases.read_text("utf-8") for file in files if file.cases.exists()}
    try:
        if target.exists() and any(target.iterdir()) and not force:
            fail(f"--write: {target} is not empty, and a gateway may serve it; give a new folder, or --force")
        return write_folder(target, texts)
    except OSError as error:
        fail(f"--write: {error.filename or target} cannot be written: {error.strerror}")
