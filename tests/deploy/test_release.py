"""The scripts of the release workflow as they stand in it, with a real registry; what only a forge has is recorded.

`docker`, `cosign` and `gh` are recorded: no package that can be installed here has them, and they need a forge's identity.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway
from tests.support.deploy_tools import CHART, HELMS, ROOT, helm, image, manifests, only, pod_specs, podman, run
from tests.support.registry import digest, registry

VERSION = gateway.__version__
JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text("utf-8"))["jobs"]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on loopback."""
    with registry(tmp_path_factory.mktemp("registry")) as at:
        yield at


class Runner:
    """A machine of a forge: the tree, and commands that only record how they were called."""

    def __init__(self, folder: Path, version: str = "4") -> None:
        self.folder = folder
        self.log = folder / "called"
        commands = {
            "sudo": 'exec "$@"',
            "make": "exit 0",
            "cosign": f'echo cosign "$@" >>{self.log}',
            "gh": f'echo gh "$@" >>{self.log}',
            # The registry on loopback has no certificate.
            "helm": f'[ "$1" = push ] && set -- "$@" --plain-http\nexec {helm(version)} "$@"',
        }
        (folder / "bin").mkdir()
        for name, line in commands.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / "bin" / name).chmod(0o755)
        for name in (".venv", "deploy"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "dist").mkdir()

    def step(self, job: str, name: str, **environ: str) -> dict[str, str]:
        """Run a step by its name and return its outputs. Fails if its exit status is not 0."""
        (script,) = [step["run"] for step in JOBS[job]["steps"] if step.get("name") == name]
        outputs = self.folder / "outputs"
        outputs.write_text("")
        given = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOME": str(self.folder), "GITHUB_OUTPUT": str(outputs)}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = subprocess.run(
            command, cwd=self.folder, env=given | environ, capture_output=True, text=True, check=False, timeout=100
        )
        assert 0 == done.returncode, done.stdout + done.stderr
        return dict(line.split("=", 1) for line in outputs.read_text().splitlines())


def test_the_tag_gives_the_version_and_the_notes(tmp_path: Path) -> None:
    """The tag of this version is accepted, and the notes are its section of the changelog."""
    runner = Runner(tmp_path)
    outputs = runner.step("build", "the tag, package, chart and changelog agree", GITHUB_REF_NAME=f"v{VERSION}")
    notes = (tmp_path / "dist" / "notes.md").read_text("utf-8")

    assert {"version": VERSION} == outputs
    assert "\n### " in f"\n{notes}"
    assert "\n## " not in notes


@pytest.mark.parametrize("version", HELMS)
def test_the_chart_is_pushed_signed_and_installs(version: str, host: str, tmp_path: Path) -> None:
    """The chart in the registry is the one that gets the signature, and it installs the image of the release."""
    runner = Runner(tmp_path, version)
    namespace = f"{host}/owner-{version}"
    environ = {"VERSION": VERSION, "NAMESPACE": namespace, "DIGEST": DIGEST, "RUNNER_TEMP": str(tmp_path)}
    runner.step("publish", "package, push and sign the chart", **environ)
    chart = f"{namespace}/charts/productlane-gateway"
    made = run(
        helm(version), "template", "egress", f"oci://{chart}", "--version", VERSION, "--plain-http",
        "--values", CHART / "ci" / "minimal-values.yaml", env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    ).stdout  # fmt: skip
    spec = pod_specs([only(manifests(made), "Deployment")])[0]

    assert [f"cosign sign --yes {chart}@{digest(chart, VERSION)}"] == runner.log.read_text().splitlines()
    assert f"{namespace}/productlane-gateway@{DIGEST}" == spec["containers"][0]["image"]


@pytest.mark.parametrize(("version", "kind"), [("1.2.3", ""), ("1.2.3-rc.1", " --prerelease")])
def test_the_release_has_every_file_and_the_notes(version: str, kind: str, tmp_path: Path) -> None:
    """The release on the forge gets wheel, source, chart and bill of materials, and the notes as its text."""
    runner = Runner(tmp_path)
    (tmp_path / "chart").mkdir()
    for name in ("dist/notes.md", "dist/a.whl", "dist/a.tar.gz", "chart/a.tgz", "chart/a.sbom.json"):
        (tmp_path / name).write_text("x")
    runner.step("release", "make the release", VERSION=version, GITHUB_REF_NAME=f"v{version}")
    files = "dist/a.tar.gz dist/a.whl chart/a.sbom.json chart/a.tgz"
    wanted = f"gh release create v{version} {files} --verify-tag --title {version} --notes-file notes.md{kind}"

    assert [wanted] == runner.log.read_text().splitlines()


def test_the_image_goes_through_a_registry(host: str) -> None:
    """What is pushed can be pulled by the digest that a published chart names, and it is this version."""
    archive = ROOT / ".work" / "image" / "image.tar"
    image()
    name = f"{host}/owner/productlane-gateway"
    run(
        "skopeo",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        f"docker-archive:{archive}",
        f"docker://{name}:{VERSION}",
    )
    pinned = f"{name}@{digest(name, VERSION)}"
    podman("pull", "--quiet", "--tls-verify=false", pinned)
    try:
        said = podman("run", "--rm", "--network=none", "--read-only", "--cap-drop=all", pinned, "version").stdout
    finally:
        podman("rmi", pinned, check=False)

    assert re.search(rf"\b{re.escape(VERSION)}\b", said)
