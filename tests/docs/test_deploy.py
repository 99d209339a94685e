"""Every command of the pages about deploying: each is run, or read by the program that it calls."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from gateway.cli.program import _program
from tests.support.deploy_tools import ROOT, helm, run, tool

PAGES = [ROOT / "docs" / "deploy.md", *sorted((ROOT / "docs" / "deploy").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}
COMMANDS = sorted(
    {
        line
        for text in TEXTS.values()
        for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    }
)
EGRESS = TEXTS["docs/deploy/egress.md"]
VALUES = re.findall(r"^```yaml\n(.*?)^```", EGRESS, re.DOTALL | re.MULTILINE)[0]


def options(text: str) -> set[str]:
    """The long options of a help text."""
    return set(re.findall(r"(--[a-z][a-z-]*)", text))


def check_kubectl(words: list[str], folder: Path) -> None:
    """Run what needs no cluster. Of the rest, kubectl knows the command and each option."""
    kubectl = tool("helm4", "kubectl")
    words = [word for word in words if word not in ("-n", "egress", "reports")] if words[0] == "-n" else words
    if words[0] == "kustomize":
        path = {**os.environ, "PATH": f"{tool('helm3')}:{os.environ['PATH']}"}
        assert "kind: Deployment" in run(kubectl, *words, env=path).stdout
    elif words[0] == "create":
        words = [
            word.replace("=current.txt", f"={folder}/current.txt").replace("=key.txt", f"={folder}/key.txt")
            for word in words
        ]
        assert "kind:" in run(kubectl, *words, "--dry-run=client", "--output=yaml").stdout
    else:
        own = words[: words.index("--")] if "--" in words else words
        known = options(run(kubectl, own[0], "--help").stdout + run(kubectl, "options").stdout)
        assert {word.partition("=")[0] for word in own if word.startswith("--")} <= known
        if "--" in words:
            check_gateway(words[words.index("--") + 2 :])


def check_helm(words: list[str], folder: Path) -> None:
    """Render what would be installed; of `helm test`, Helm knows each option."""
    values = [f"{folder}/values.yaml" if word == "values.yaml" else word for word in words]
    if words[0] == "test":
        known = options(run(helm("4"), "test", "--help").stdout)
        assert {word for word in words if word.startswith("--")} <= known
        return
    command = [
        "template" if word in ("install", "upgrade") else word for word in values if word != "--create-namespace"
    ]
    assert "kind:" in run(helm("4"), *command).stdout


def check_gateway(words: list[str]) -> None:
    """The command of the gateway exists, with its options."""
    found = _program.get_command(click.Context(_program), words[0])
    assert found is not None
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works(command: str, tmp_path: Path) -> None:
    """Commands of the page work as described, if they need no cluster, registry or engine."""
    (tmp_path / "values.yaml").write_text(VALUES)
    for name in ("current.txt", "key.txt"):
        (tmp_path / name).write_text("pl_v2_for-a-test-only")
    words = shlex.split(command)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    match words:
        case ["kubectl", *rest]:
            check_kubectl(rest, tmp_path)
        case ["helm", *rest]:
            check_helm(rest, tmp_path)
        case ["productlane-gateway", *rest]:
            check_gateway(rest)
        case ["make", target]:
            assert (
                subprocess.run(
                    ["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False, timeout=60
                ).returncode
                == 0
            )
        case ["python", script, name, *_]:
            assert f'"{name}"' in (ROOT / script).read_text("utf-8")
        case ["kind", *rest]:
            assert all((ROOT / word).exists() for word in rest if "/" in word and not word.startswith("localhost/"))
        case ["podman", "push", source, target]:
            assert source.rpartition(":")[2] == target.rpartition(":")[2]
        case _:
            pytest.fail(f"no test knows how to run {words[0]}")


def test_versions_are_this_one() -> None:
    """Images that the pages name have the version of the chart."""
    version = re.findall(r"^version: (.*)$", (ROOT / "helm/productlane-gateway/Chart.yaml").read_text(), re.MULTILINE)[
        0
    ]
    named = {found for text in TEXTS.values() for found in re.findall(r"productlane-gateway:(\d[\w.-]*)", text)}

    assert {version} == named


def test_a_page_names_files_that_exist() -> None:
    """Each path of the tree that a page names is there."""
    named = {
        path
        for text in TEXTS.values()
        for path in re.findall(r"`((?:deploy|monitoring|helm|docs|\.github)/[\w./-]+)`", text)
    }

    assert len(named) > 8
    assert [] == [path for path in sorted(named) if not (ROOT / path).exists()]
