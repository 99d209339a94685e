"""Commands that need no configuration: ``token``, ``schema``, ``version``."""

import platform

import click

from gateway import __version__


@click.command()
def token() -> None:
    """Make a token for a caller.

    The first line is the token, for the caller's `Authorization: Bearer …`. It is shown this once and kept nowhere.
    The second is its digest, for `authenticate.tokens` in the caller's policy. With both in a file:

    \b
        productlane-gateway token > new-token.txt

    Exit status: 0.
    """
    from gateway.callers.tokens import new_token

    text, digest = new_token()
    click.echo(f"{text}\n{digest}")
    click.echo(
        "\nThe first line is the token: give it to the caller. It is shown this once and kept nowhere.\n"
        "The second line goes into the caller's policy, under `authenticate: {tokens: […]}`.",
        err=True,
    )


@click.command()
@click.argument("which", type=click.Choice(["config", "policy"]))
def schema(which: str) -> None:
    """Print the JSON Schema of gateway.yaml or of a policy file.

    For an editor to complete and check while you write; made from what the gateway itself reads by.

    \b
        productlane-gateway schema policy > policy.schema.json

    Exit status: 0.
    """
    import json

    from gateway.config.schema import config_schema, policy_schema

    made = config_schema() if which == "config" else policy_schema()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


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
