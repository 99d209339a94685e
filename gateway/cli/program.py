"""The program: its commands in the order in which somebody meets them, and ``--version``."""

from collections.abc import Iterable
from typing import Final

import click

from gateway.cli.cases import test
from gateway.cli.check import check
from gateway.cli.demo import demo
from gateway.cli.explain import explain
from gateway.cli.facts import schema, token, version, version_lines
from gateway.cli.serve import serve
from gateway.cli.simulate import simulate

_COMMANDS: Final = (serve, demo, check, explain, test, token, schema, simulate, version)


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo("\n".join(version_lines()))
        ctx.exit()


def _program(commands: Iterable[click.Command]) -> click.Group:
    @click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
    @click.option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
    )
    def program() -> None:
        """A reverse auth proxy for the Productlane v2 API: callers never hold a key.

        `demo` shows it at work with nothing set up. `serve` runs it. `check`, `explain` and `test` answer, before
        anything is deployed, whether a configuration is sound and what a policy allows.
        """

    for command in commands:
        program.add_command(command)
    return program


def main() -> None:
    """Run the command line of this process; exits with the command's status."""
    _program(_COMMANDS)(prog_name="productlane-gateway")
