"""The command that begins a policy for a new caller."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.settings import catalog_option, fail, json_option, print_json, unusable

if TYPE_CHECKING:
    from gateway.config.reading.problem import Problem


@click.command()
@click.argument("name")
@click.option("--scope", "scopes", metavar="SCOPE", multiple=True, required=True, help="May be given more than once.")
@click.option("--audit", is_flag=True, help="Forward what the scopes lack, and report it (`mode: audit`).")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("policies"),
    show_default=True,
    help="Where the policy is written.",
)
@catalog_option("Know the scopes that this gateway.yaml adds to the catalog, as well")
@json_option
def new(name: str, scopes: tuple[str, ...], audit: bool, folder: Path, config: Path | None, as_json: bool) -> None:
    """Write a policy for a new caller NAME and print its token.

    The file is NAME.yaml, and an existing one is never changed. It holds the digest of the token; the token itself is
    printed this once and kept nowhere.

    \b
        productlane-gateway policy new billing --scope companies:read --scope contacts:read
        productlane-gateway policy new crm-sync --scope contacts:read --audit

    Exit status: 0, or 2 where the name or a scope is wrong or the file exists.
    """
    from gateway.callers.tokens import new_token
    from gateway.cli.policies.policy_sets import place_and_catalog
    from gateway.config.assembly.policies import check_policy
    from gateway.config.reading.source import parse

    problems: list[Problem] = []
    _, catalog = place_and_catalog(config, problems)
    token, digest = new_token()
    lines = [f"caller: {name}", "authenticate:", "  tokens:", f"    - {digest}", "scopes:"]
    lines += [f"  - {scope}" for scope in sorted(set(scopes))]
    text = "\n".join([*lines, *(["mode: audit"] if audit else [])]) + "\n"
    file = folder / f"{name}.yaml"
    check_policy(parse(str(file), text.encode(), problems), catalog)
    if problems:
        unusable(problems)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        fail(f"{file} exists; remove it first, or choose another name")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    try:
        if as_json:
            print_json({"file": str(file), "caller": name, "token": token, "digest": digest})
            return
        click.echo(token)
    except OSError:
        # Nobody has read the token, and it is kept nowhere.
        file.unlink()
        raise
    click.echo(f"\n{file} is written. The line above is the token of {name}; it is shown this once.", err=True)
