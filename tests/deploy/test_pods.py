"""Rendered pods that really run: podman plays them, a simulated Productlane answers, and requests go through."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy_tools import ROOT, Manifest, eventually, image, manifests, only, pod_specs, podman, template
from tests.support.deploy_upstream import KEY, NEXT_KEY, ask, productlane
from tests.support.kubelet import GROUP, playable, write_volume
from tests.support.ports import free_ports

TOKEN = "plgw_for-the-deploy-tests"
NAME = "egress-productlane-gateway"


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A simulated Productlane."""
    image()
    with productlane() as url:
        yield url


@contextlib.contextmanager
def played(name: str, pod: Manifest) -> Iterator[None]:
    """A pod of this name that runs under podman."""
    try:
        # JSON, which is YAML too: podman rewrites what it reads, and breaks folded strings.
        podman("play", "kube", "--log-driver=k8s-file", "-", input=json.dumps(pod))
        yield
    finally:
        podman("pod", "rm", "--force", "--time", "5", name, check=False)


def exits(name: str) -> dict[str, int]:
    """The exit status of each container of a pod, once all have ended."""

    def ended() -> list[dict[str, Any]] | None:
        found = json.loads(podman("ps", "--all", "--format=json", f"--filter=pod={name}").stdout)
        own = [one for one in found if not one["IsInfra"]]
        return own if own and all(one["Exited"] for one in own) else None

    return {one["Names"][0].removeprefix(f"{name}-"): one["ExitCode"] for one in eventually(60, ended)}


class Egress:
    """The central egress as the chart renders it, for a simulator; and where it listens."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.traffic, self.admin = free_ports(2)
        self.folder = folder
        values = folder / "values.yaml"
        values.write_text(yaml.safe_dump(self._values(upstream)))
        self.objects = manifests(template("4", values).stdout)
        self.maps = [one for one in self.objects if one["kind"] == "ConfigMap"]
        self.volumes = {"key-main": folder / "key"} | {name: folder / name for name in ("config", "policies", "token")}
        self.keys(previous=KEY)
        write_volume(folder / "token", {"token": TOKEN})
        write_volume(folder / "config", only(self.maps, "ConfigMap", NAME)["data"], 0o644)
        self.policy()

    def _values(self, upstream: str) -> dict[str, Any]:
        return {
            "replicaCount": 1,
            "keys": {"main": {"existingSecret": "productlane-key"}},
            "policies": {
                "app": {
                    "authenticate": {"tokens": [f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"]},
                    "scopes": ["threads:read", "companies:read"],
                    "deny": ["GET /companies/{id}"],
                }
            },
            "config": {"upstream": {"url": upstream}, "drain": {"delay": "0s"}},
            "listenAddress": "0.0.0.0",
            "containerPorts": {"http": self.traffic, "metrics": self.admin},
            "tests": {"existingSecret": "caller", "denied": "GET /companies/none"},
        }

    def keys(self, **entries: str) -> None:
        """Write the Secret that the pod has mounted."""
        write_volume(self.folder / "key", entries)

    def policy(self, **fields: Any) -> None:
        """Write the policies that the chart rendered into the volume, with fields changed."""
        files = only(self.maps, "ConfigMap", f"{NAME}-policies")["data"]
        changed = {name: yaml.safe_dump(yaml.safe_load(text) | fields) for name, text in files.items()}
        write_volume(self.folder / "policies", changed, 0o644)

    def pod(self, place: int, name: str, **environ: str) -> Manifest:
        """One of the chart's pods, ready to be played: 0 is the Deployment's, 1 the one of `helm test`."""
        made = playable(pod_specs(self.objects)[place], image(), name, self.volumes)
        for container in made["spec"]["containers"]:
            for entry in container.get("env", ()):
                entry["value"] = environ.get(entry["name"], entry.get("value"))
        return made

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.traffic}/api/v2"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"


@pytest.fixture(scope="module")
def egress(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Egress]:
    """The central egress, running."""
    made = Egress(tmp_path_factory.mktemp("egress"), upstream)
    name = f"egress-{made.traffic}"
    with played(name, made.pod(0, name)):
        eventually(30, lambda: ask(f"{made.admin_url}/readyz")[0] == 200)
        yield made


def test_a_request_goes_through_the_rendered_egress(egress: Egress) -> None:
    """What the chart installs answers callers who prove themselves, with a key that they never see."""
    status, body = ask(f"{egress.url}/threads", TOKEN)

    assert 200 == status
    assert "data" in body
    assert 401 == ask(f"{egress.url}/threads", "plgw_somebody-else")[0]
    assert (403, "forbidden") == (
        (answer := ask(f"{egress.url}/companies/c_1", TOKEN))[0],
        answer[1]["error"]["code"],
    )


def test_the_egress_shows_its_metrics_on_the_port_that_is_scraped(egress: Egress) -> None:
    """The ServiceMonitor's target has the metrics; the Service does not expose them."""
    ask(f"{egress.url}/threads", TOKEN)
    status, text = ask(f"{egress.admin_url}/metrics")

    assert 200 == status
    assert 'productlane_gateway_requests_total{caller="app"' in text
    assert 404 == ask(f"http://127.0.0.1:{egress.traffic}/metrics", TOKEN)[0]


def test_a_changed_policy_counts_without_a_restart(egress: Egress) -> None:
    """When Kubernetes swaps a ConfigMap's files the running pod judges by the new ones, and by the old ones after that."""
    url = f"{egress.url}/companies/c_1"
    egress.policy(deny=[])
    eventually(30, lambda: ask(url, TOKEN)[0] == 404)
    egress.policy()
    eventually(30, lambda: ask(url, TOKEN)[0] == 403)

    assert 200 == ask(f"{egress.admin_url}/readyz")[0]


def test_a_key_that_comes_later_is_taken_up(egress: Egress) -> None:
    """A Secret gets its entry `current` while the pod runs, and calls go on with it."""
    egress.keys(previous=KEY, current=NEXT_KEY)
    eventually(30, lambda: uses(egress, 1))

    assert 200 == ask(f"{egress.url}/threads", TOKEN)[0]


def uses(egress: Egress, slot: int) -> float:
    """When the secret in a place of the key was last used, after one more call; 0 for never."""
    ask(f"{egress.url}/threads", TOKEN)
    text = ask(f"{egress.admin_url}/metrics")[1]
    found = re.search(
        rf'^productlane_gateway_key_last_used_timestamp_seconds{{key="main",slot="{slot}"}} (\S+)$', text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def test_helm_test_passes_where_all_is_well(egress: Egress) -> None:
    """The pod of `helm test` shows the keys to Productlane and makes its three calls."""
    name = f"test-{egress.traffic}"
    pod = egress.pod(1, name, GATEWAY=f"http://127.0.0.1:{egress.traffic}")
    with played(name, pod):
        ended = exits(name)
        output = podman("logs", f"{name}-calls").stdout

    assert {"check": 0, "calls": 0} == ended
    assert ["ok", "ok", "ok"] == [line.split()[0] for line in output.splitlines()]


def test_helm_test_fails_where_a_caller_may_too_much(egress: Egress) -> None:
    """A call that should be denied and is not turns `helm test` red."""
    name = f"test-red-{egress.traffic}"
    pod = egress.pod(1, name, GATEWAY=f"http://127.0.0.1:{egress.traffic}", DENIED="GET /threads")
    with played(name, pod):
        ended = exits(name)
        output = podman("logs", f"{name}-calls").stdout

    assert {"check": 0, "calls": 1} == ended
    assert "FAIL denied: GET /threads 200" in output


# The app of a sidecar. It waits for the gateway, as Kubernetes waits for the start-up probe before it starts the app.
APP = """
import http.client, os, socket, sys, time
while True:
    try:
        probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['ADMIN']), timeout=5)
        probe.request('GET', '/readyz')
        if probe.getresponse().status == 200:
            break
    except OSError:
        time.sleep(0.05)
connection = http.client.HTTPConnection('127.0.0.1', int(os.environ['TRAFFIC']), timeout=10)
if path := os.environ.get('PRODUCTLANE_SOCKET'):
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
found = []
for target in ('threads', 'companies'):
    connection.request('GET', '/api/v2/' + target)
    answer = connection.getresponse()
    answer.read()
    found.append(answer.status)
print(*found, 'key' if os.path.exists('/run/secrets/productlane') else 'no key', flush=True)
"""


@pytest.mark.parametrize("variant", ["loopback", "unix-socket"])
def test_an_app_calls_through_its_sidecar(variant: str, upstream: str, tmp_path: Path) -> None:
    """As a sidecar the gateway forwards requests that its scopes allow and refuses others, and the app has no key."""
    deployment = only(manifests((ROOT / "deploy" / "sidecar" / f"{variant}.yaml").read_text()), "Deployment")
    traffic, admin = free_ports(2)
    write_volume(tmp_path / "key", {"key": KEY})
    # An emptyDir and the files in it belong to the pod's fsGroup, which is the app's group as well.
    (tmp_path / "socket").mkdir()
    os.chown(tmp_path / "socket", 0, GROUP)
    (tmp_path / "socket").chmod(0o2775)
    volumes = {"productlane-key": tmp_path / "key", "productlane-socket": tmp_path / "socket"}
    name = f"sidecar-{traffic}"
    pod = playable(deployment["spec"]["template"]["spec"], image(), name, volumes)
    gateway, app = pod["spec"]["containers"]
    settings = {one["name"]: one["value"] for one in gateway["env"]}
    settings |= {"PRODUCTLANE_GATEWAY_UPSTREAM_URL": upstream, "PRODUCTLANE_GATEWAY_ADMIN": f"127.0.0.1:{admin}"}
    settings["PRODUCTLANE_GATEWAY_DRAIN_DELAY"] = "0s"
    if variant == "loopback":
        settings["PRODUCTLANE_GATEWAY_LISTEN"] = f"127.0.0.1:{traffic}"
    gateway["env"] = [{"name": key, "value": value} for key, value in settings.items()]
    app |= {"command": ["/opt/gateway/bin/python", "-I", "-c"], "args": [APP.strip()]}
    app["env"] += [{"name": "TRAFFIC", "value": str(traffic)}, {"name": "ADMIN", "value": str(admin)}]
    app["securityContext"]["runAsGroup"] = GROUP
    with played(name, pod):
        eventually(
            30, lambda: podman("inspect", "--format={{.State.Status}}", f"{name}-app").stdout.strip() == "exited"
        )
        output = podman("logs", f"{name}-app").stdout

    assert "200 403 no key" == output.strip()
