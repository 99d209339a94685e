"""The workflow for forges runs what runs here."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy_tools import ROOT, run, tool

FILE = ROOT / ".github" / "workflows" / "ci.yaml"
JOBS: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))["jobs"]
COMMANDS = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_the_workflow_is_one(schema: str) -> None:
    """A forge can read the file, and no job runs without an end."""
    run(tool("deploy", "bin", "check-jsonschema"), "--builtin-schema", schema, FILE)


def test_the_workflow_runs_make_and_nothing_else() -> None:
    """What a forge checks is what anybody can check: targets of the Makefile, the whole of `make check` among them."""
    targets = set(re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split())
    made = [command.split("make ")[1].split() for command in COMMANDS if "make " in command]
    others = {command for command in COMMANDS if "make " not in command}

    assert {"test", "check", "image", "chart"} == {target for command in made for target in command}
    assert {"test", "check", "image", "chart"} <= targets
    assert {"sudo .ci/packages"} == others


def test_the_suite_runs_on_each_python_that_is_promised() -> None:
    """Each Python of the package's classifiers is tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = [text.rsplit(" ", 1)[1] for text in project["classifiers"] if re.search(r"Python :: 3\.\d+$", text)]

    assert promised == JOBS["test"]["strategy"]["matrix"]["python"]


def test_the_forge_installs_what_ci_installs() -> None:
    """The forge's full run has each tool of the system that `.ci/run` has, so that nothing is skipped there either."""
    script = ".ci/packages"

    assert f"sudo {script}" in COMMANDS
    assert f"\n{script}\n" in (ROOT / ".ci" / "run").read_text("utf-8")


@pytest.mark.parametrize("refused", ["one list", "one package"])
def test_one_package_that_conflicts_does_not_stop_the_others(refused: str, tmp_path: Path) -> None:
    """Where apt refuses the list of packages, each is tried by itself, and the script names those that are missing."""
    log = tmp_path / "log"
    # Only what the script itself needs is on PATH, so that every tool counts as missing.
    for name in ("bash", "id", "cat", "chmod", "rm", "python3"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    apt = tmp_path / "apt-get"
    refuses = '[ "$#" -gt 4 ] && exit 100' if refused == "one list" else '[ "$4" = npm ] || [ "$#" -gt 4 ] && exit 100'
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase $1 in install) {refuses}; esac\nexit 0\n')
    apt.chmod(0o755)
    done = run(ROOT / ".ci" / "packages", env={"PATH": str(tmp_path)})
    tried = [line.split()[3:] for line in log.read_text().splitlines() if line.startswith("install")]

    assert [[one] for one in tried[0]] == tried[1:]
    assert ("could not be installed: npm;" in done.stderr) == (refused == "one package")
