"""What the commands share: the option ``--config``, exit statuses, and how problems are printed."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from datetime import date

    from gateway.config.assembly.snapshot import Snapshot
    from gateway.config.reading.problem import Problem

# 2 is also what click exits with where the command line itself is wrong.
REFUSED: Final = 1
UNUSABLE: Final = 2

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """``--config FILE``; without it the configuration is that of the environment."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The gateway.yaml. Without it: $PRODUCTLANE_GATEWAY_CONFIG, or for a sidecar without files "
        "$PRODUCTLANE_KEY and $PRODUCTLANE_SCOPES, or ./gateway.yaml.",
    )(command)


def catalog_option(what: str) -> Callable[[F], F]:
    """``--config FILE`` of a command that needs no key, with what it takes from the file."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option("--config", type=kind, metavar="FILE", help=f"{what}; its secrets are not read.")


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def configured(config: Path | None) -> Path | None:
    """The file of the configuration; None where the environment is all of it, or where there is none.

    ``--config`` wins over the environment, and that over a ``gateway.yaml`` in the working directory.
    """
    import os

    from gateway.config.schema.environment import CONFIG, KEY, SCOPES

    here = Path("gateway.yaml")
    named = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    if named is None and KEY not in os.environ and SCOPES not in os.environ and here.exists():
        return here
    return named


def loaded(config: Path | None, flags: Mapping[str, str] | None = None, *, offline: bool = False) -> "Snapshot":
    """The checked configuration. Where it has problems, prints all of them and exits with status 2.

    ``offline`` is as for `gateway.config.load.load`.
    """
    import os

    from gateway.config.load import load
    from gateway.config.reading.problem import ConfigError

    try:
        return load(configured(config), environ=os.environ, flags=flags, offline=offline)
    except ConfigError as error:
        unusable(error.problems)


def unusable(problems: "Iterable[Problem]") -> NoReturn:
    """Print the problems, one a line on standard error or as JSON on standard output, and exit with status 2."""
    import msgspec

    problems = list(problems)
    _end("\n".join(map(str, problems)), msgspec.to_builtins(problems))


def fail(message: str) -> NoReturn:
    """Print why the command cannot do its work, as `unusable` prints problems."""
    _end(message, [failure(message)])


def _end(text: str, problems: list[dict[str, object]]) -> NoReturn:
    context = click.get_current_context(silent=True)
    if context is not None and context.params.get("as_json"):
        print_json({"ok": False, "problems": problems})
    else:
        click.echo(text, err=True)
    raise SystemExit(UNUSABLE)


def fail_unknown(what: str, name: str, known: Iterable[str], plural: str) -> NoReturn:
    """Exit with 2 for a name that does not exist, with the one that may be meant, or else all of them."""
    from gateway.config.reading.problem import did_you_mean, shown

    known = sorted(known)
    fail(f"{what} {shown(name)}{did_you_mean(name, known) or f'; known {plural}: ' + ', '.join(known)}")


def failure(message: str, file: str = "") -> dict[str, object]:
    """A problem of no line, as JSON has it."""
    return {"file": file, "line": 0, "where": "", "message": message}


def utc_today() -> "date":
    """The day in UTC, on which policies are judged."""
    from datetime import UTC, datetime

    return datetime.now(UTC).date()


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def location(config: Path | None) -> str:
    """Where the configuration comes from, for people: a file's name or ``environment``."""
    from gateway.config.schema.environment import ENVIRONMENT

    return str(configured(config) or ENVIRONMENT)
