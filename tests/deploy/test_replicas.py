"""`productlane-gateway keys` with the environment that the chart gives a pod, against replicas that serve its ConfigMaps."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.deploy_tools import manifests, template
from tests.support.replicas import UPSTREAM, replicas

HEADLESS = "egress-productlane-gateway-headless"
VALUES = {
    "replicaCount": 2,
    "keys": {"main": {"existingSecret": "productlane-key", "secretKeys": ["current"]}},
    "policies": {
        "billing": {"authenticate": {"tokens": [f"sha256:{'9f86d081884c7d65' * 4}"]}, "scopes": ["companies:read"]}
    },
    "config": {"upstream": {"url": UPSTREAM}, "drain": {"delay": "0s"}},
    "statusToken": {"existingSecret": "gateway-status"},
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was asked of two replicas, and what they answered."""
    if missing := [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, timeout=20).returncode:
        pytest.skip("no network namespace can be made here")
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "values.yaml").write_text(yaml.safe_dump(VALUES))
    return replicas(manifests(template("4", folder / "values.yaml").stdout), HEADLESS, folder)


def test_keys_in_a_pod_asks_every_replica(seen: dict[str, Any]) -> None:
    """The variables that the chart sets lead `keys` to all replicas, and it knows that these are all."""
    assert 0 == seen["all"]["exit"], seen["all"]["said"]
    assert "Asked 2 replicas: 10.77.0.1:9090, 10.77.0.2:9090." in seen["all"]["said"]


def test_another_pod_needs_the_token(seen: dict[str, Any]) -> None:
    """Without the Secret's token, no replica shows its status to another host, and `keys` says what to set."""
    assert 403 == seen["outside"]
    assert seen["without token"]["exit"]
    assert "PRODUCTLANE_GATEWAY_STATUS_TOKEN" in seen["without token"]["said"]


def test_a_port_forward_needs_no_token(seen: dict[str, Any]) -> None:
    """On a pod's loopback, which `kubectl port-forward` reaches, one replica answers without a token."""
    assert 0 == seen["port-forward"]["exit"], seen["port-forward"]["said"]
    assert "main" in seen["port-forward"]["said"]


def test_a_replica_that_is_gone_is_missed(seen: dict[str, Any]) -> None:
    """As the chart says how many replicas there are, `keys` calls no secret safe to revoke while one is silent."""
    assert 1 == seen["one gone"]["exit"]
    assert "10.77.0.2:9090 did not answer" in seen["one gone"]["said"]
