"""Policies for reading alone, without the secrets that serving them would need."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.config.assembly.catalog import read_catalog
from gateway.config.assembly.policies import PolicyFile, check_policy, read_policies
from gateway.config.reading.problem import Problem
from gateway.config.reading.section import Record
from gateway.config.reading.source import open_document
from gateway.config.schema.environment import overlaid
from gateway.config.schema.gateway import Gateway
from gateway.core.catalog import Catalog

_FOLDER = Path("policies")


def policy_sets(
    folder: Path | None, config: Path | None, problems: list[Problem]
) -> tuple[Catalog, list[tuple[PolicyFile, ...]]]:
    """The catalog, and the policies of the folder and of each folder in it that holds some.

    A folder is one set: its policies are checked against each other. What is wrong goes to ``problems``.
    """
    named, catalog = place_and_catalog(config, problems)
    folder = folder or named
    sets = []
    for place in _folders(folder):
        sets.append(policies_at(place, catalog, problems))
        problems.extend(_orphans(place))
    return catalog, sets


def place_and_catalog(config: Path | None, problems: list[Problem]) -> tuple[Path, Catalog]:
    """The folder of policies and the catalog that a ``gateway.yaml`` says; without one, the usual ones."""
    named, overlays = _settings(config, problems) if config is not None else (_FOLDER, [])
    return named, read_catalog(overlays, problems)


def policies_at(place: Path, catalog: Catalog, problems: list[Problem]) -> tuple[PolicyFile, ...]:
    """The policies of a folder, or the one of a file. One with a problem is left out."""
    if place.name.endswith(".cases.yaml"):
        named = _policy_of(place)
        problems.append(Problem(str(place), 0, "", f"is the table of a policy; give {named}, or its folder"))
        return ()
    if place.is_file():
        return check_policy(open_document(place, problems), catalog).files
    files, found = read_policies(place, catalog)
    problems.extend(found)
    return files


def _settings(config: Path, problems: list[Problem]) -> tuple[Path, list[Path]]:
    """What a configuration says of its policies and of its catalog."""
    document = overlaid(open_document(config, problems), os.environ, {})
    if document.root is None:
        return _FOLDER, []
    values = Record(Gateway).values(document.root, (), document)
    return values.get("policies", _FOLDER), [*values.get("catalog", ())]


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
        policy = _policy_of(cases)
        if not policy.exists():
            yield Problem(str(cases), 0, "", f"is the table of {policy.name}, which is not there")


def _policy_of(cases: Path) -> Path:
    return cases.with_name(cases.name.removesuffix(".cases.yaml") + ".yaml")
