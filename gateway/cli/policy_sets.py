"""Policies for reading alone, without the secrets that serving them would need."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.config import gateway_file
from gateway.config.catalog import read_catalog
from gateway.config.policies import PolicyFile, read_policies
from gateway.config.problem import Problem
from gateway.config.reader import record_of
from gateway.config.settings import overlaid
from gateway.config.source import open_document
from gateway.core.catalog import Catalog

_FOLDER = Path("policies")


def policy_sets(
    folder: Path | None, config: Path | None, problems: list[Problem]
) -> tuple[Catalog, list[tuple[PolicyFile, ...]]]:
    """The catalog, and the policies of the folder and of each folder in it that holds some.

    A folder is one set: its policies are checked against each other. What is wrong goes to ``problems``.
    """
    named, overlays = _settings(config, problems) if config is not None else (_FOLDER, [])
    folder = folder or named
    catalog = read_catalog(overlays, problems)
    sets = []
    for place in _folders(folder):
        files, found = read_policies(place, catalog)
        problems.extend(found)
        problems.extend(_orphans(place))
        sets.append(files)
    return catalog, sets


def _settings(config: Path, problems: list[Problem]) -> tuple[Path, list[Path]]:
    """What a configuration says of its policies and of its catalog."""
    document = overlaid(open_document(config, problems), os.environ, {})
    if document.root is None:
        return _FOLDER, []
    values = record_of(gateway_file.Gateway).values(document.root, (), document)
    base = config.parent if document.origin(("policies",)) is None else Path()
    overlays = [config.parent / name for name in values.get("catalog", ())]
    return base / values.get("policies", _FOLDER), overlays


def _folders(folder: Path) -> Iterator[Path]:
    """The folder, and those below it that hold YAML. Hidden ones are a Kubernetes volume's own workings."""
    yield folder
    for path, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if Path(path) != folder and any(name.endswith(".yaml") for name in files):
            yield Path(path)


def _orphans(folder: Path) -> Iterable[Problem]:
    """Tables without a policy, whose rows would never be looked at."""
    for cases in sorted(folder.glob("[!.]*.cases.yaml")):
        policy = cases.with_name(cases.name.removesuffix(".cases.yaml") + ".yaml")
        if not policy.exists():
            yield Problem(str(cases), 0, "", f"is the table of {policy.name}, which is not there")
