"""What is locked, built and released: one version, pinned dependencies, nothing that leads elsewhere."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gateway

ROOT = Path(__file__).parent.parent
LOCKS = ["build", "run", "tracing", "dev"]


@pytest.fixture
def project() -> dict[str, Any]:
    """What ``pyproject.toml`` says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def locked(name: str) -> dict[str, str]:
    """The pinned version of each distribution of a lock file."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_pinned_with_its_hashes(name: str) -> None:
    """An installation from a lock file gets the very files that were tested, or an error."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    entries = re.split(r"^(?=[^\s#])", text.replace("\\\n", ""), flags=re.MULTILINE)[1:]

    assert entries
    assert [] == [
        entry for entry in entries if not re.match(r"[a-z0-9._-]+==[^\s=]+ .*--hash=sha256:[0-9a-f]{64}\b", entry)
    ]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_leads_nowhere(name: str) -> None:
    """The lock files work with any mirror: they hold no address and no option of an index."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")

    assert [] == re.findall(r"^.*(?:://|^-|--(?!hash=)|@ ).*$", text, re.MULTILINE)


def test_the_locks_are_those_of_the_project(project: dict[str, Any]) -> None:
    """After a change of ``pyproject.toml`` without ``make lock``, this says which requirement is not met."""
    wanted = {
        "build": project["build-system"]["requires"],
        "run": project["project"]["dependencies"],
        "tracing": project["project"]["dependencies"] + project["project"]["optional-dependencies"]["tracing"],
        "dev": project["project"]["dependencies"]
        + project["project"]["optional-dependencies"]["tracing"]
        + project["dependency-groups"]["dev"]
        + project["build-system"]["requires"],
    }
    unmet = [
        (lock, text)
        for lock, texts in wanted.items()
        for text in texts
        if not (one := Requirement(text)).specifier.contains(locked(lock).get(canonicalize_name(one.name), "0"))
    ]

    assert [] == unmet


@pytest.mark.parametrize(("part", "whole"), [("run", "tracing"), ("run", "dev"), ("tracing", "dev")])
def test_what_is_tested_is_what_is_run(part: str, whole: str) -> None:
    """The tests run with exactly the versions that a user's installation gets, with the extra and without."""
    assert {} == {name: version for name, version in locked(part).items() if locked(whole).get(name) != version}


def test_tracing_is_an_extra(project: dict[str, Any]) -> None:
    """Without the extra no library of OpenTelemetry is installed, nor its dependencies."""
    extra = locked("tracing").keys() - locked("run").keys()

    assert ["tracing"] == list(project["project"]["optional-dependencies"])
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "protobuf", "requests"} <= extra
    assert [] == [name for name in locked("run") if name.startswith("opentelemetry")]


def test_an_image_can_be_built_with_each_extra(project: dict[str, Any]) -> None:
    """`--build-arg EXTRAS=` takes the name of an extra, whose lock is part of the build; without it there is none."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    locks = [f"requirements/{name}.txt" for name in ("run", *project["project"]["optional-dependencies"])]

    assert 'ARG EXTRAS=""\n' in text
    assert '--require-hashes -r "requirements/${EXTRAS:-run}.txt"' in text
    assert f"COPY requirements/build.txt {' '.join(locks)} requirements/\n" in text
    assert [] == [lock for lock in locks if not (ROOT / lock).is_file()]


def test_the_version_stands_in_one_place(project: dict[str, Any]) -> None:
    """The distribution has the version that the package says, and the changelog has a place for what comes next."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", gateway.__version__)
    assert ["version"] == project["project"]["dynamic"]
    assert "gateway/__init__.py" == project["tool"]["hatch"]["version"]["path"]
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_sections_of_the_changelog_come_in_order() -> None:
    """A release's notes list first what is urgent, then what breaks, then what is new."""
    order = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"]
    releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]

    for release in releases:
        sections = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert sorted(sections, key=order.index) == sections


def test_type_checkers_see_the_types() -> None:
    """The package is marked as typed (PEP 561), as its classifier says."""
    assert (Path(gateway.__file__).parent / "py.typed").is_file()
