"""The workflow for forges runs what runs here."""

import re
import tomllib
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
    made = [command.split("make ")[1].split() for command in COMMANDS if "apt-get" not in command]

    assert {"test", "check", "image", "chart"} == {target for command in made for target in command}
    assert {"test", "check", "image", "chart"} <= targets


def test_the_suite_runs_on_each_python_that_is_promised() -> None:
    """Each Python of the package's classifiers is tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = [text.rsplit(" ", 1)[1] for text in project["classifiers"] if re.search(r"Python :: 3\.\d+$", text)]

    assert promised == JOBS["test"]["strategy"]["matrix"]["python"]


def test_the_workflow_installs_what_tests_use() -> None:
    """The forge's full run has each tool of the system that `.ci/run` has, so nothing skips there either."""
    wanted = re.findall(r"wanted=\((.*?)\)", (ROOT / ".ci" / "run").read_text("utf-8"), re.DOTALL)[0].split()[1::2]
    (command,) = [command for command in COMMANDS if "apt-get" in command]

    assert set(wanted) <= set(command.split())
