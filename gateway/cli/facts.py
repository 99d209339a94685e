"""Commands that need no configuration: ``token``, ``schema``, ``version``."""

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway import __version__
from gateway.cli.settings import json_option, print_json

if TYPE_CHECKING:
    from gateway.config.reading.problem import Problem


@click.command()
@json_option
def token(as_json: bool) -> None:
    """Make a token for a caller.

    The first line is the token, for the caller's `Authorization: Bearer …`. It is shown this once and kept nowhere.
    The second is its digest, for `authenticate.tokens` in the caller's policy; a policy may list several, so that a
    token can be replaced while both are good. With both lines in a file:

    \b
        productlane-gateway token > new-token.txt

    Exit status: 0.
    """
    from gateway.callers.tokens import new_token

    text, digest = new_token()
    if as_json:
        print_json({"token": text, "digest": digest})
        return
    click.echo(f"{text}\n{digest}")
    click.echo(
        "\nThe first line is the token: give it to the caller. It is shown this once and kept nowhere.\n"
        "The second line goes into the caller's policy, under `authenticate: {tokens: […]}`.",
        err=True,
    )


@click.command()
@click.argument("which", type=click.Choice(["config", "policy", "cases"]))
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Know the scopes and endpoints that this gateway.yaml adds to the catalog, as well; its secrets are not read.",
)
def schema(which: str, config: Path | None) -> None:
    """Print the JSON Schema of gateway.yaml, of a policy or of a policy's truth table.

    For an editor to complete and check while you write: a scope or an endpoint that does not exist is marked. Made
    from what the gateway itself reads by.

    \b
        productlane-gateway schema policy > policy.schema.json

    An editor with YAML support uses it where the first line of a file is, with the path from that file:

    \b
        # yaml-language-server: $schema=schema/policy.schema.json

    Exit status: 0, or 2 where --config has problems.
    """
    from gateway.cli.policies.policy_sets import place_and_catalog
    from gateway.cli.settings import unusable
    from gateway.config.json_schema import cases_schema, config_schema, policy_schema

    problems: list[Problem] = []
    _, catalog = place_and_catalog(config, problems)
    if problems:
        unusable(problems)
    made = {"config": config_schema, "policy": lambda: policy_schema(catalog), "cases": cases_schema}
    print_json(made[which]())


@click.command()
def version() -> None:
    """Print the versions of the gateway, Python and aiohttp.

    A bug report needs them.

    Exit status: 0.
    """
    click.echo("\n".join(version_lines()))


def version_lines() -> list[str]:
    """A name and a version in each line. aiohttp is not imported for it."""
    from importlib.metadata import version as installed

    return [
        f"productlane-gateway {__version__}",
        f"Python {platform.python_version()}",
        f"aiohttp {installed('aiohttp')}",
    ]
