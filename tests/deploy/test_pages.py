"""The commands of the pages about deploying, typed in their order, on a STAND-IN for an API server (`kube_api`).

What needs a kubelet, an engine or a registry is not typed here; `tests/docs/test_deploy.py` looks at each command by itself.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.deploy_tools import HELMS, ROOT, helm, only, tool
from tests.support.kube_api import KubeAPI, kube_api
from tests.support.kube_jobs import run_job

NAME = "egress-productlane-gateway"
PAGES = ROOT / "docs" / "deploy"
# Needs a kubelet (`exec`, `helm test`), a cluster in containers (`kind`), or no cluster at all.
ELSEWHERE = re.compile(r"kubectl .*\bexec\b|helm (test|template)|kind |kubectl kustomize|.*examples/kind/|PRODUCTLANE_")


class Reader:
    """Somebody who types what a page says, in a folder with the files that the page names."""

    def __init__(self, cluster: KubeAPI, version: str) -> None:
        self.cluster = cluster
        self.folder = cluster.folder / "reader"
        (self.folder / "bin").mkdir(parents=True)
        for name, target in {"bin/helm": helm(version), "bin/kubectl": tool("helm4", "kubectl")}.items():
            (self.folder / name).symlink_to(target)
        for name in ("helm", "deploy"):
            (self.folder / name).symlink_to(ROOT / name)
        (values,) = re.findall(
            r"^```yaml\n(.*?)^```", (PAGES / "egress.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        (self.folder / "values.yaml").write_text(values)
        for name in ("current.txt", "key.txt"):
            (self.folder / name).write_text("pl_v2_of-the-reader-0123456789")
        self.values = yaml.safe_load(values)

    def read(self, page: str) -> dict[str, str]:
        """Type the commands of a page; returns what each printed. Fails at the first whose exit status is not 0."""
        blocks = re.findall(r"^```console\n(.*?)^```", (PAGES / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in block.splitlines() if not ELSEWHERE.match(line)]
        return {line: self._type(line) for line in lines}

    def _type(self, line: str) -> str:
        environ = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=environ, capture_output=True, text=True, check=False, timeout=90
        )
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(params=HELMS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """A reader with Helm 3 or 4 and an empty cluster."""
    with kube_api(tmp_path, run_job) as cluster:
        yield Reader(cluster, request.param)


def test_the_pages_about_an_egress_and_about_both_lead_there(reader: Reader) -> None:
    """Secrets, the installation with its preflight, both upgrades, and then the monitor for sidecars work as typed."""
    said = reader.read("egress.md")
    issuer = json.loads(said["kubectl get --raw /.well-known/openid-configuration"])["issuer"]
    (container,) = reader.cluster.get("deployments", NAME, "egress")["spec"]["template"]["spec"]["containers"]

    assert reader.values["config"]["callers"]["kubernetes"]["issuer"] == issuer
    assert {"productlane-key", "gateway-status"} <= {
        one["metadata"]["name"] for one in reader.cluster.find("egress", "secrets")
    }
    assert "PRODUCTLANE_GATEWAY_STATUS_TOKEN" in [one["name"] for one in container["env"]]
    assert len([line for line in said if line.startswith("helm upgrade")]) == 2
    assert reader.read("both.md")
    assert reader.cluster.get("podmonitors", f"{NAME}-sidecars", "egress")


def test_the_page_about_a_sidecar_leads_to_one(reader: Reader) -> None:
    """The example app is applied with the gateway in its pod, and its Secret is there."""
    reader.read("sidecar.md")
    app = only([*reader.cluster.find("reports", "deployments")], "Deployment")

    assert ["productlane-gateway"] == [one["name"] for one in app["spec"]["template"]["spec"]["initContainers"]]
    assert reader.cluster.get("secrets", "reports-productlane-key", "reports")
