"""The program: its commands in the order in which somebody meets them, and ``--version``."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

# Where each command is. Its module is imported when the command is wanted, so none pays for another's imports.
_COMMANDS: Final[Mapping[str, str]] = {
    "serve": "gateway.cli.serve",
    "demo": "gateway.cli.demo",
    "check": "gateway.cli.check",
    "keys": "gateway.cli.keys",
    "explain": "gateway.cli.explain",
    "test": "gateway.cli.cases",
    "policy": "gateway.cli.policy",
    "report": "gateway.cli.report",
    "token": "gateway.cli.facts",
    "schema": "gateway.cli.facts",
    "simulate": "gateway.cli.simulate",
    "version": "gateway.cli.facts",
}


class _Program(click.Group):
    """A group whose commands stand in modules under their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        place = _COMMANDS.get(cmd_name)
        command: click.Command | None = getattr(import_module(place), cmd_name) if place is not None else None
        return command


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from gateway.cli.facts import version_lines

        click.echo("\n".join(version_lines()))
        ctx.exit()


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the versions."
)
def _program() -> None:
    """A reverse auth proxy for the Productlane v2 API: callers never hold a key.

    `demo` shows it at work with nothing set up. `serve` runs it. `check`, `explain` and `test` answer, before anything
    is deployed, whether a configuration is sound and what a policy allows.
    """


def main() -> None:
    """Run the command line of this process; exits with the command's status."""
    _program(prog_name="productlane-gateway")
