"""The image that `make image` built: its contents, and that it runs without any privilege."""

import json
import re
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from tests.support.deploy_tools import ROOT, eventually, image, podman, run, tool
from tests.support.ports import free_ports

# Nothing is granted: no capability, no writable path, no new privilege; and the image's own user.
HARDENED = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]


@pytest.fixture(scope="module")
def tar() -> Path:
    """The image as a tarball."""
    image()
    return ROOT / ".work" / "image" / "image.tar"


@pytest.fixture
def sidecar() -> Iterator[tuple[str, str, float]]:
    """A hardened container that serves as a sidecar: its id, its admin address, and the seconds until it was ready."""
    traffic, admin = free_ports(2)
    name = image()
    began = time.monotonic()
    done = podman(
        "run", "--detach", *HARDENED, "--network=host", "--env=PRODUCTLANE_KEY=pl_v2_for-a-test-only",
        "--env=PRODUCTLANE_SCOPES=threads:read", name, "serve", "--upstream", "http://127.0.0.1:1/api/v2",
        "--listen", f"127.0.0.1:{traffic}", "--admin", f"127.0.0.1:{admin}",
    )  # fmt: skip
    container = done.stdout.strip()
    try:
        url = f"http://127.0.0.1:{admin}"
        eventually(20, lambda: answers(f"{url}/readyz"))
        yield container, url, time.monotonic() - began
    finally:
        podman("rm", "--force", container)


def answers(url: str) -> bool:
    """Whether a URL is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_the_dockerfile_is_clean() -> None:
    """hadolint has nothing to say."""
    assert "" == run(tool("deploy", "bin", "hadolint"), "Dockerfile").stdout


def test_only_what_is_copied_gets_into_the_build() -> None:
    """A key file in the tree cannot end up in a layer, because the build's context is a list of allowed files."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))

    assert "*" == rules[0]
    assert {name for line in copied for name in line.split()} == {rule[1:] for rule in rules if rule.startswith("!")}


def test_the_image_is_as_its_description_says(tar: Path) -> None:
    """User, entry point, ports and labels are those that deployments count on."""
    check = tool("deploy", "bin", "container-structure-test")
    done = run(
        check, "test", "--driver", "tar", "--image", tar, "--config", "deploy/image/structure.yaml", "--output", "json"
    )
    result = json.loads(done.stdout)

    assert (0, result["Total"]) == (result["Fail"], result["Pass"])
    assert 3 == result["Total"]


def test_no_tool_to_build_is_left(tar: Path) -> None:
    """Neither pip nor sources nor a compiler is in any layer, not even hidden under a later one."""
    with tarfile.open(tar) as outer:
        layers = [one for one in outer.getnames() if one.endswith(".tar")]
        names = {name for layer in layers for name in _names(outer, layer)}
    left = re.compile(
        r"(^|/)(pip3?|ensurepip|setuptools|hatchling|wheel)(/|-[0-9]|$)|^(src|dist|build)/|bin/(gcc|cc|ld|strip|make)$"
    )

    assert "opt/gateway/bin/productlane-gateway" in names
    assert [] == sorted(name for name in names if left.search(name))


def _names(outer: tarfile.TarFile, layer: str) -> list[str]:
    stream = outer.extractfile(layer)
    assert stream is not None
    with tarfile.open(fileobj=stream) as inner:
        return inner.getnames()


def test_the_image_is_small() -> None:
    """All layers together are under 150 MB."""
    facts = json.loads(podman("image", "inspect", image()).stdout)[0]

    assert facts["Size"] < 150_000_000


def test_the_image_says_what_it_is_made_of(tar: Path) -> None:
    """The bill of materials names the gateway and each of its dependencies in the version that is pinned."""
    bill = json.loads((tar.parent / "sbom.cdx.json").read_text())
    found = {one["name"].lower(): one.get("version") for one in bill["components"]}
    text = (ROOT / "requirements" / "run.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))

    assert gateway.__version__ == found["productlane-gateway"]
    assert len(pinned) > 10
    assert pinned.items() <= {name.replace("_", "-"): version for name, version in found.items()}.items()


def test_a_stand_in_is_called_one() -> None:
    """An image with another base than python:3.13-slim has another name."""
    facts = json.loads(podman("image", "inspect", image()).stdout)[0]
    base = facts["Config"]["Labels"]["org.opencontainers.image.base.name"]

    assert image().endswith("-stand-in") == base.endswith("(stand-in)")


def test_it_starts_within_a_second_and_runs_with_nothing_granted(sidecar: tuple[str, str, float]) -> None:
    """From `podman run` to ready, engine and all, with a read-only root and no capability."""
    container, _, seconds = sidecar
    facts = json.loads(podman("inspect", container).stdout)[0]

    # Beside other tests on two cores everything takes longer; alone it is under 1 s (docs/deploy/image.md).
    assert seconds < 5
    assert facts["HostConfig"]["ReadonlyRootfs"]
    assert not facts["EffectiveCaps"]
    pid = facts["State"]["Pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "65532" in re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    assert ["1"] == re.findall(r"^NoNewPrivs:\s+(\d)", status, re.MULTILINE)


def test_it_drains_on_sigterm(sidecar: tuple[str, str, float]) -> None:
    """`podman stop` reaches the gateway itself, not a shell around it, and it exits with 0."""
    container, url, _ = sidecar
    podman("stop", "--time", "20", container)
    state = json.loads(podman("inspect", container).stdout)[0]["State"]
    log = podman("logs", container).stdout

    assert 0 == state["ExitCode"]
    assert ["draining", "stopped"] == re.findall(r'"event":"(draining|stopped)"', log)
    assert not answers(f"{url}/livez")


def test_the_health_check_sees_a_gateway_that_answers(sidecar: tuple[str, str, float]) -> None:
    """The image has a health check for engines without probes, which works on any port."""
    container, url, _ = sidecar
    command = json.loads(podman("image", "inspect", image()).stdout)[0]["Healthcheck"]["Test"]
    admin = ["--env", f"PRODUCTLANE_GATEWAY_ADMIN={url.removeprefix('http://')}"]

    assert "CMD" == command[0]
    assert 0 == podman("exec", *admin, container, *command[1:], check=False).returncode
    assert 1 == podman("exec", container, *command[1:], check=False).returncode


@pytest.mark.parametrize("command", [["version"], ["token"], ["schema", "policy"], ["--help"]])
def test_its_commands_work_without_a_writable_path(command: list[str]) -> None:
    """Whatever is asked with `kubectl exec` works in the container as it is."""
    done = podman("run", "--rm", *HARDENED, "--network=none", image(), *command)
    here = run(sys.executable, "-m", "gateway", *command)

    assert bool(here.stdout) == bool(done.stdout)
    assert here.stdout.splitlines()[0][:5] == done.stdout.splitlines()[0][:5]


def test_no_file_of_it_is_set_uid() -> None:
    """Nothing in the image can make a process more than it is."""
    script = "import os,stat;print([d+'/'+f for d,_,fs in os.walk('/usr') for f in fs if os.lstat(d+'/'+f).st_mode & 0o6000])"
    done = podman("run", "--rm", *HARDENED, "--entrypoint=/opt/gateway/bin/python", image(), "-I", "-c", script)

    assert "[]" == done.stdout.strip()
