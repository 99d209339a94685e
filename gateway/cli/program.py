"""The program: its commands in the order in which somebody meets them, and ``--version``."""

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final

import click

from gateway.cli.settings import fail, failure, print_json

# Where each command is. Its module is imported when the command is wanted, so none pays for another's imports.
_COMMANDS: Final[Mapping[str, str]] = {
    "serve": "gateway.cli.serve.serve",
    "demo": "gateway.cli.demo.demo",
    "check": "gateway.cli.serve.check",
    "doctor": "gateway.cli.doctor.doctor",
    "config": "gateway.cli.serve.config",
    "keys": "gateway.cli.keys.keys",
    "health": "gateway.cli.serve.health",
    "explain": "gateway.cli.explain.explain",
    "catalog": "gateway.cli.explain.catalog",
    "test": "gateway.cli.policies.cases",
    "policy": "gateway.cli.policies.policy",
    "report": "gateway.cli.policies.report",
    "token": "gateway.cli.facts",
    "schema": "gateway.cli.facts",
    "simulate": "gateway.cli.demo.simulate",
    "completion": "gateway.cli.facts",
    "version": "gateway.cli.facts",
}


# As a shell tells an end by SIGINT, and by SIGPIPE. 1 would be an answer: refused, or something changes.
_INTERRUPTED: Final = 130
_NO_READER: Final = 141


class _Program(click.Group):
    """A group whose commands stand in modules under their own names."""

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        """Read the command line of the group itself; ``--help`` and ``--version`` print here."""
        with _ends_from_outside():
            return super().make_context(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _ends_from_outside():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None and not ctx.resilient_parsing:
            from gateway.config.reading.problem import did_you_mean

            ctx.fail(f"No such command '{cmd_name}'{did_you_mean(cmd_name, _COMMANDS)}")
        command: click.Command | None = getattr(import_module(place), cmd_name) if place is not None else None
        return command


@contextmanager
def _ends_from_outside() -> Iterator[None]:
    """Ctrl-C, a reader that has enough and a full disk end a command with a status and no traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except click.UsageError as error:
        if "--json" not in sys.argv:
            raise
        print_json({"ok": False, "problems": [failure(error.format_message(), "command line")]})
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        _drop_output()
        raise SystemExit(_NO_READER) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        fail(f"{error.filename or 'the output'} is not whole: {error.strerror}")


def _drop_output() -> None:
    """Let what standard output still holds go nowhere: written again at the end, it would fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    if sys.stdin is None:
        # The parent process closed it: `-` then reads nothing, as from /dev/null.
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # `→` and `…` on a terminal that has no such sign.
        sys.stdout.reconfigure(errors="backslashreplace")
    _program(prog_name="productlane-gateway")
