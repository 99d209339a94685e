"""The tools that `make tools` brings, and ways to ask them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "productlane-gateway"
SHAPES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir())
HELMS = ["3", "4"]

Manifest: TypeAlias = dict[str, Any]


def tool(*names: str) -> str:
    """The path of a tool below ``.tools``; skips the test if it is missing."""
    path = ROOT.joinpath(".tools", *names)
    if not path.exists():
        pytest.skip(f"{'/'.join(names)} is not here; `make tools` brings it")
    return str(path)


def helm(version: str) -> str:
    """The path of Helm 3 or 4."""
    return tool(f"helm{version}", "helm")


def run(*command: str | Path, check: bool = True, **parts: Any) -> subprocess.CompletedProcess[str]:
    """Run a command from the project's folder. If it fails, or takes 100 s, the test fails with what it said."""
    given: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "check": False, "timeout": 100, **parts}
    done = subprocess.run([*map(str, command)], **given)
    if check and done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def template(version: str, values: Path | None, *arguments: str, chart: Path = CHART, check: bool = True) -> Any:
    """`helm template` as the release ``egress`` in the namespace ``apps``."""
    given: Sequence[str] = ("--values", str(values)) if values else ()
    return run(helm(version), "template", "egress", chart, "--namespace", "apps", *given, *arguments, check=check)


class Strict(yaml.SafeLoader):
    """A loader that refuses a key given twice, which Kubernetes' own would take without a word."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key is given twice: {node.start_mark}"
    return loader.construct_mapping(node, deep=True)


Strict.add_constructor("tag:yaml.org,2002:map", _mapping)


def manifests(text: str) -> list[Manifest]:
    """The objects of a stream of YAML, read strictly."""
    return [one for one in yaml.load_all(text, Strict) if one]


@cache
def rendered(version: str, shape: str) -> tuple[Manifest, ...]:
    """The chart's objects for one of its ``ci/*-values.yaml``."""
    return tuple(manifests(template(version, CHART / "ci" / f"{shape}-values.yaml").stdout))


def only(objects: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one object of a kind, or of a kind and name."""
    found = [one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert 1 == len(found), f"{len(found)} objects {kind} {name or ''}"
    return found[0]


def pod_specs(objects: Sequence[Manifest]) -> list[Manifest]:
    """The specs of all pods, those of workloads too."""
    specs = [one["spec"].get("jobTemplate", one)["spec"] for one in objects if "spec" in one]
    return [spec.get("template", {}).get("spec", spec) for spec in specs if "containers" in str(spec)]


def podman(*arguments: str | Path, check: bool = True, **parts: Any) -> subprocess.CompletedProcess[str]:
    """Run podman as `make image` does."""
    if not shutil.which("podman"):
        pytest.skip("podman is not here")
    environ = {**os.environ, "CONTAINERS_CONF": str(ROOT / "deploy" / "image" / "containers.conf")}
    return run("podman", *arguments, check=check, env=environ, **parts)


def image() -> str:
    """The name of the image that `make image` built; skips the test if there is none."""
    file = ROOT / ".work" / "image" / "name"
    if not file.exists():
        pytest.skip("there is no image; `make image` builds it")
    name = file.read_text().strip()
    if podman("image", "exists", name, check=False).returncode:
        pytest.skip(f"the image {name} is not in podman's store; `make image` builds it")
    return name


def eventually(seconds: float, holds: Callable[[], Any]) -> Any:
    """Wait until a function returns a true value, and return it; fails the test after these seconds."""
    import time

    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return result
