"""Real Helm 3 and 4 install and upgrade the chart on a STAND-IN for an API server (`tests/support/kube_api.py`).

No real kube-apiserver can be installed here. What the stand-in shows is what Helm does: the order of hooks, that it waits for
the Job, that a failed Job stops the upgrade, and what `lookup` finds. The Job runs the gateway of this source over the
rendered files.
"""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy_tools import CHART, HELMS, helm, run
from tests.support.kube_api import KubeAPI, kube_api
from tests.support.kube_jobs import run_job

NAME = "egress-productlane-gateway"
RUNS = [("configmaps", NAME), ("configmaps", f"{NAME}-policies"), ("deployments", NAME)]
VALUES: dict[str, Any] = {
    "image": {"registry": "registry.example.com"},
    "keys": {"main": {"existingSecret": "productlane-key"}},
    "policies": {
        "billing": {"authenticate": {"tokens": [f"sha256:{'9f86d081884c7d65' * 4}"]}, "scopes": ["companies:read"]}
    },
    "preflight": {"enabled": True},
}
# Values that the chart accepts and the gateway does not, and what `check` says about them. A team wrote the policy.
TEAM = "{caller: reports, authenticate: {tokens: [nothing]}, scopes: [companies:reed]}"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a team's policy": (
        {"policyConfigMaps": [{"name": "team"}]},
        'no such scope as `companies:reed`; did you mean "companies:read"?',
    ),
    "a route": (
        {"routes": [{"path": "/companys/**", "keys": ["main"]}]},
        "routes[0].path: no endpoint has a path that `/companys/**` covers",
    ),
}


@pytest.fixture(params=HELMS)
def version(request: pytest.FixtureRequest) -> str:
    """Helm 3 and Helm 4."""
    found: str = request.param
    helm(found)
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubeAPI]:
    """A stand-in with the Secret of the key."""
    with kube_api(tmp_path, run_job) as api:
        api.put(
            "secrets",
            {
                "metadata": {"name": "productlane-key"},
                "data": {"current": base64.b64encode(b"pl_v2_of-the-test-0123456789").decode()},
            },
        )
        yield api


def helmed(
    cluster: KubeAPI, version: str, *arguments: str, check: bool = True, **values: Any
) -> subprocess.CompletedProcess[str]:
    """Run Helm against the cluster, with values over `VALUES`."""
    files = [cluster.folder / "values.yaml", cluster.folder / "more.yaml"]
    for file, text in zip(files, (VALUES, values), strict=True):
        file.write_text(yaml.safe_dump(text))
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(cluster.folder), "KUBECONFIG": str(cluster.kubeconfig)}
    given = (
        [part for file in files for part in ("--values", str(file))] if arguments[0] in ("install", "upgrade") else []
    )
    return run(helm(version), *arguments, *given, "--namespace", "apps", env=environ, check=check, timeout=90)


def history(cluster: KubeAPI, version: str) -> list[tuple[int, str]]:
    """Revision and status of each version of the release."""
    text = helmed(cluster, version, "history", "egress", "--output", "yaml").stdout
    return [(one["revision"], one["status"]) for one in yaml.safe_load(text)]


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_gateway_refuses_cannot_be_deployed(case: str, cluster: KubeAPI, version: str) -> None:
    """`helm upgrade` fails with what `check` said in the Job, and everything that runs stays as it is."""
    values, named = REFUSED[case]
    helmed(cluster, version, "install", "egress", str(CHART), "--timeout", "60s")
    cluster.put("configmaps", {"metadata": {"name": "team"}, "data": {"reports.yaml": TEAM}})
    before = [cluster.get(*one) for one in RUNS]
    done = helmed(cluster, version, "upgrade", "egress", str(CHART), "--timeout", "60s", check=False, **values)
    (pod,) = cluster.find("apps", "pods")
    (container,) = pod["status"]["containerStatuses"]

    assert done.returncode
    assert f"{NAME}-preflight" in done.stderr
    assert named in container["state"]["terminated"]["message"]
    # Helm 3.17 does not print the log of a hook; Helm does from 3.18 on.
    assert version == "3" or named.split("`")[0] in done.stdout + done.stderr
    assert before == [cluster.get(*one) for one in RUNS]
    assert [(1, "deployed"), (2, "failed")] == history(cluster, version)


def test_a_good_change_passes_the_preflight(cluster: KubeAPI, version: str) -> None:
    """An upgrade that `check` accepts is deployed, and nothing of the preflight but its files stays."""
    helmed(cluster, version, "install", "egress", str(CHART), "--timeout", "60s")
    policies = {"billing": {**VALUES["policies"]["billing"], "scopes": ["companies:read", "contacts:read"]}}
    helmed(cluster, version, "upgrade", "egress", str(CHART), "--timeout", "60s", policies=policies)

    assert "contacts:read" in cluster.get("configmaps", f"{NAME}-policies")["data"]["billing.yaml"]
    assert [] == [*cluster.find("apps", "jobs"), *cluster.find("apps", "pods")]
    assert [(1, "superseded"), (2, "deployed")] == history(cluster, version)


def test_an_install_that_the_gateway_refuses_makes_nothing(cluster: KubeAPI, version: str) -> None:
    """The preflight of a first install comes before everything that would run."""
    values, _ = REFUSED["a route"]
    done = helmed(cluster, version, "install", "egress", str(CHART), "--timeout", "60s", check=False, **values)

    assert done.returncode
    assert [] == cluster.find("apps", "deployments")


@pytest.mark.parametrize(("phase", "passed"), [("Succeeded", True), ("Failed", False)])
def test_the_pod_of_helm_test_never_stays(phase: str, passed: bool, version: str, tmp_path: Path) -> None:
    """`helm test` says how the pod ended and removes it, after a failure as well, so that it can be run again."""

    def end(api: KubeAPI, made: dict[str, Any]) -> None:
        api.put("pods", made | {"status": {"phase": phase}})

    with kube_api(tmp_path, end) as cluster:
        helmed(cluster, version, "install", "egress", str(CHART), preflight={"enabled": False})
        codes = [helmed(cluster, version, "test", "egress", "--timeout", "30s", check=False).returncode for _ in "12"]

        assert [passed] * 2 == [code == 0 for code in codes]
        assert [] == cluster.find("apps", "pods")


@pytest.mark.parametrize(("running", "kept"), [(5, 5), (1, 2)])
def test_autoscaling_keeps_what_runs(running: int, kept: int, cluster: KubeAPI, version: str) -> None:
    """An upgrade that turns autoscaling on keeps the replicas that run, at least `minReplicas`; so does the next one."""
    off: dict[str, Any] = {"preflight": {"enabled": False}, "replicaCount": 3}
    on = off | {"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 6}}
    helmed(cluster, version, "install", "egress", str(CHART), **off)
    scaled = cluster.get("deployments", NAME)
    scaled["spec"]["replicas"] = running
    cluster.put("deployments", scaled)
    helmed(cluster, version, "upgrade", "egress", str(CHART), **on)
    found = [cluster.get("deployments", NAME)["spec"]["replicas"]]
    helmed(cluster, version, "upgrade", "egress", str(CHART), **on, podLabels={"tier": "egress"})
    found.append(cluster.get("deployments", NAME)["spec"]["replicas"])

    assert [kept, kept] == found
    assert "egress" == cluster.get("deployments", NAME)["spec"]["template"]["metadata"]["labels"]["tier"]
    assert 1 == len(cluster.find("apps", "horizontalpodautoscalers"))
