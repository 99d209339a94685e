"""Commands that need no configuration: ``token``, ``completion``, ``schema``, ``version``."""

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway import __version__
from gateway.cli.settings import catalog_option, fail, json_option, print_json

PROGRAM: Final = "productlane-gateway"
# A token is a password: shorter ones can be guessed.
_SHORTEST: Final = 16

if TYPE_CHECKING:
    from gateway.config.reading.problem import Problem


@click.command()
@click.option("--digest", "given", is_flag=True, help="Print the digest of the token on standard input instead.")
@json_option
def token(given: bool, as_json: bool) -> None:
    """Make a token for a caller.

    The first line is the token, for the caller's `Authorization: Bearer …`. It is shown this once and kept nowhere.
    The second is its digest, for `authenticate.tokens` in the caller's policy; a policy may list several, so that a
    token can be replaced while both are good. With both lines in a file:

    \b
        productlane-gateway token > new-token.txt

    A token that was made elsewhere is read from standard input, where no list of processes shows it:

    \b
        productlane-gateway token --digest < token.txt

    Exit status: 0, or 2 where standard input holds no token.
    """
    from gateway.callers.token_text import new_token

    if given:
        _print_digest(as_json)
        return
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


def _print_digest(as_json: bool) -> None:
    import re

    from gateway.callers.token_text import FORM, digest

    try:
        text = sys.stdin.read(1 << 16).strip()
    except UnicodeDecodeError:
        text = ""
    if len(text) < _SHORTEST or not re.fullmatch(FORM, text):
        fail(
            f"standard input holds no token: one line of {_SHORTEST} to 4096 characters, letters, digits and "
            "`-` `.` `_` `~` `+` `/` `=`; a request can carry no other"
        )
    if text.startswith("pl_v"):
        fail("standard input holds a key of Productlane; callers of the gateway get tokens of their own")
    made = f"sha256:{digest(text).hex()}"
    if as_json:
        print_json({"digest": made})
    else:
        click.echo(made)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in a shell.

    \b
        productlane-gateway completion bash > ~/.local/share/bash-completion/completions/productlane-gateway
        source <(productlane-gateway completion zsh)
        productlane-gateway completion fish > ~/.config/fish/completions/productlane-gateway.fish

    Exit status: 0.
    """
    from click.shell_completion import get_completion_class

    program = ctx.find_root()
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices are those that click knows
    variable = f"_{PROGRAM}_COMPLETE".replace("-", "_").upper()
    # Not the source of `BashComplete`, which asks bash for its version.
    made = kind(program.command, {}, PROGRAM, variable)
    click.echo(made.source_template % made.source_vars())


@click.command()
@click.argument("which", type=click.Choice(["config", "policy", "cases"]))
@catalog_option("Know the scopes and endpoints that this gateway.yaml adds to the catalog, as well")
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
