"""A registry for images and charts on loopback: Debian's `docker-registry`."""

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deploy_tools import eventually
from tests.support.deploy_upstream import ask
from tests.support.ports import free_port

_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """The ``host:port`` of a registry that keeps what it gets in a folder."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "registry.yaml").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program, "serve", str(folder / "registry.yaml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(20, lambda: ask(f"http://127.0.0.1:{port}/v2/")[0] == 200)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def digest(name: str, tag: str) -> str:
    """The digest of what a tag names; ``name`` begins with the registry's ``host:port``."""
    host, _, path = name.partition("/")
    request = urllib.request.Request(
        f"http://{host}/v2/{path}/manifests/{tag}", headers={"Accept": ", ".join(_MANIFESTS)}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.headers["Docker-Content-Digest"])
