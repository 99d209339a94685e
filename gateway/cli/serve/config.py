"""The command that shows the settings as the gateway would use them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from gateway.cli.settings import config_option, configured, json_option, loaded, print_json, unusable
from gateway.cli.table import table

if TYPE_CHECKING:
    from gateway.config.reading.document import Document, Node
    from gateway.config.reading.problem import Problem, Steps

# In the URL of a store, which the environment may give whole.
_PASSWORD: Final = re.compile(r"(://[^:@/\s]*):[^@\s]*@")


class Shown(NamedTuple):
    """One setting with its value as a file would have it, and where it came from."""

    setting: str
    value: str
    origin: str


@click.group()
def config() -> None:
    """Show the settings that the gateway would use.

    \b
        productlane-gateway config show --origin

    Exit status: 0 or 2, as the command says.
    """


@config.command()
@config_option
@click.option("--origin", is_flag=True, help="Say where each value comes from: a line, a variable or the default.")
@json_option
def show(config: Path | None, origin: bool, as_json: bool) -> None:
    """Print every setting in effect.

    Values of the file, of environment variables, and the defaults of what neither gives. Secrets are never shown: a
    key stands as the source that it is read from. The configuration is checked first, without its secrets.

    \b
        productlane-gateway config show
        productlane-gateway config show --config gateway.yaml --origin --json

    Exit status: 0, or 2 where the configuration has problems.
    """
    loaded(config, offline=True)
    problems: list[Problem] = []
    rows = list(_shown(_document(configured(config), problems)))
    if problems:
        unusable(problems)
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    click.echo(table([row if origin else row[:2] for row in rows]))


def _document(path: Path | None, problems: "list[Problem]") -> "Document":
    from gateway.config.reading.source import open_document
    from gateway.config.schema import environment

    document = environment.sidecar(os.environ, problems)[0] if path is None else open_document(path, problems)
    return environment.overlaid(document, os.environ, {})


def _shown(document: "Document") -> Iterator[Shown]:
    """The settings that the document gives, in its order, then the defaults of the others."""
    from gateway.config.reading.problem import dotted
    from gateway.config.reading.section import single_settings
    from gateway.config.schema.gateway import Gateway

    given: set[Steps] = set()
    for path, text, line in _leaves(document.root, ()):
        given.add(path)
        source = document.origin(path)
        # A sidecar without files has no line.
        here = f"{document.file}:{line}" if line else document.file
        place = here if source is None else f"{source[0]} {source[1]}"
        yield Shown(dotted(path), _PASSWORD.sub(r"\1:***@", text), place)
    for path, setting in single_settings(Gateway):
        if path not in given and setting.default not in (None, ()):
            default = setting.default
            yield Shown(dotted(path), str(default).lower() if isinstance(default, bool) else str(default), "default")


def _leaves(node: "Node | None", path: "Steps") -> "Iterator[tuple[Steps, str, int]]":
    from gateway.config.reading.document import Items, Scalar, Table

    match node:
        case Scalar():
            yield path, node.text, node.line
        case Items():
            for place, item in enumerate(node.items):
                yield from _leaves(item, (*path, place))
        case Table():
            for name, (_, child) in node.entries.items():
                yield from _leaves(child, (*path, name))
