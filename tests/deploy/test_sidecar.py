"""The sidecar in its four forms: the chart's template, plain manifests, the Kustomize component, and the example."""

import json
import os
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml

from gateway.config.assembly.catalog import load_catalog
from tests.support.deploy_tools import CHART, ROOT, Manifest, helm, manifests, only, pod_specs, run, tool

VARIANTS = ["loopback", "unix-socket"]
EXAMPLES = ["deploy/examples/cluster", "deploy/examples/sidecar-app"]
APP_CHART = {
    "Chart.yaml": "{apiVersion: v2, name: app, version: 1.0.0, dependencies: [{name: productlane-gateway, version: 0.2.0}]}",
    "values.yaml": "productlane-gateway: {enabled: false, sidecar: {existingSecret: app-productlane-key, "
    "scopes: [threads:read, contacts:read]}}",
    "templates/pod.yaml": """\
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  initContainers:
    {{- include "productlane-gateway.sidecar.container" (index .Subcharts "productlane-gateway") | nindent 4 }}
  volumes:
    {{- include "productlane-gateway.sidecar.volumes" (index .Subcharts "productlane-gateway") | nindent 4 }}
""",
}


@pytest.fixture(scope="module")
def app_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart of somebody's app that has this one as a dependency."""
    chart = tmp_path_factory.mktemp("app")
    for name, text in APP_CHART.items():
        (chart / name).parent.mkdir(exist_ok=True)
        (chart / name).write_text(text)
    shutil.copytree(CHART, chart / "charts" / "productlane-gateway")
    return chart


def from_chart(chart: Path, variant: str, version: str = "4", *values: str) -> Manifest:
    """The spec of the pod that the chart's templates make."""
    sets = [f"productlane-gateway.sidecar.unixSocket={str(variant == 'unix-socket').lower()}", *values]
    text = run(helm(version), "template", "x", chart, *(part for one in sets for part in ("--set", one))).stdout
    objects = manifests(text)
    assert ["Pod"] == [one["kind"] for one in objects]
    spec: Manifest = objects[0]["spec"]
    return spec


def plain(variant: str) -> Manifest:
    """The pod of the plain manifest."""
    text = (ROOT / "deploy" / "sidecar" / f"{variant}.yaml").read_text()
    spec: Manifest = only(manifests(text), "Deployment")["spec"]["template"]["spec"]
    return spec


@cache
def kustomized(folder: str) -> list[Manifest]:
    """The objects that Kustomize builds from a folder."""
    kubectl = tool("helm4", "kubectl")
    path = f"{tool('helm3')}:{os.environ['PATH']}"
    return manifests(
        run(
            kubectl, "kustomize", "--enable-helm", "--load-restrictor", "LoadRestrictionsNone", ROOT / folder,
            env={**os.environ, "PATH": path},
        ).stdout
    )  # fmt: skip


@pytest.mark.parametrize("version", ["3", "4"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_another_chart_gets_the_sidecar_of_the_plain_manifest(app_chart: Path, variant: str, version: str) -> None:
    """The template and the manifest to copy are the same container and the same volumes."""
    made, written = from_chart(app_chart, variant, version), plain(variant)

    assert made["initContainers"] == written["initContainers"]
    assert made["volumes"] == written["volumes"]


def workload(kind: str, **labels: str) -> Manifest:
    """A workload of an app whose pod has its own group and its own time to stop."""
    settings = {"terminationGracePeriodSeconds": 300, "securityContext": {"fsGroup": 7}}
    template = {"spec": settings | {"containers": [{"name": "app", "image": "app:1"}]}}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    group = "batch/v1" if kind.endswith("Job") else "apps/v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "app", "labels": labels}, "spec": spec}


def beside(one: Manifest, variant: str, folder: Path) -> Manifest:
    """The spec of a workload's pod after the component has worked on it."""
    (folder / "app.yaml").write_text(yaml.safe_dump(one))
    component = os.path.relpath(ROOT / "deploy" / "sidecar" / "component" / variant, folder)
    (folder / "kustomization.yaml").write_text(f"resources: [app.yaml]\ncomponents: [{component}]\n")
    (spec,) = pod_specs(kustomized(str(folder)))
    return spec


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_the_component_adds_the_sidecar_and_nothing_else(kind: str, variant: str, tmp_path: Path) -> None:
    """Each kind of workload gets the gateway of the plain manifest without its scopes, and keeps its own settings."""
    spec = beside(workload(kind, **{"productlane-gateway/sidecar": "true"}), variant, tmp_path)
    wanted = plain(variant)
    granted = [one for one in wanted["initContainers"][0]["env"] if one["name"] == "PRODUCTLANE_SCOPES"]
    wanted["initContainers"][0]["env"].remove(granted[0])

    assert wanted["initContainers"] == spec["initContainers"]
    assert wanted["volumes"] == spec["volumes"]
    assert (300, {"fsGroup": 7}) == (spec["terminationGracePeriodSeconds"], spec["securityContext"])


@pytest.mark.parametrize("kind", ["StatefulSet", "CronJob"])
def test_the_component_sets_a_pod_up_only_if_asked(kind: str, tmp_path: Path) -> None:
    """With a second label the pod gets a group that may read the key, and time to stop."""
    labels = {f"productlane-gateway/{name}": "true" for name in ("sidecar", "pod-settings")}
    spec = beside(workload(kind, **labels), "loopback", tmp_path)

    assert (70, {"fsGroup": 65532}) == (spec["terminationGracePeriodSeconds"], spec["securityContext"])


def test_the_component_leaves_others_alone(tmp_path: Path) -> None:
    """A workload without the label stays as it is."""
    one = workload("Deployment", **{"productlane-gateway/pod-settings": "true"})

    assert one["spec"]["template"]["spec"] == beside(one, "loopback", tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_a_native_sidecar(variant: str) -> None:
    """The gateway is ready before the app starts and ends after it, and traffic never leaves the pod."""
    spec = plain(variant)
    container = spec["initContainers"][0]
    listen = {one["name"]: one["value"] for one in container["env"]}["PRODUCTLANE_GATEWAY_LISTEN"]

    assert ("Always", "FallbackToLogsOnError") == (container["restartPolicy"], container["terminationMessagePolicy"])
    assert "/readyz" == container["startupProbe"]["httpGet"]["path"]
    assert listen == ("127.0.0.1:8080" if variant == "loopback" else "unix:/run/productlane/gateway.sock")
    assert [9090] == [port["containerPort"] for port in container["ports"]]
    assert [] == [mount for mount in container["volumeMounts"] if "subPath" in mount]


@pytest.mark.parametrize(("unset", "message"), [("existingSecret", "name the Secret"), ("scopes", "name the scopes")])
def test_a_sidecar_without_key_or_scopes_is_refused(app_chart: Path, unset: str, message: str) -> None:
    """No key is made up, and no scope is given by default."""
    done = run(helm("4"), "template", "x", app_chart, "--set", f"productlane-gateway.sidecar.{unset}=null", check=False)

    assert done.returncode
    assert message in done.stderr


def test_a_sidecar_may_have_any_scope() -> None:
    """The chart takes each of Productlane's scopes for a sidecar, `admin` too."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    pattern = schema["properties"]["sidecar"]["properties"]["scopes"]["items"]["pattern"]

    assert [] == [scope for scope in load_catalog().scopes if not re.search(pattern, scope)]


@pytest.mark.parametrize("kubernetes", ["1.29", "1.33", "1.37"])
def test_manifests_and_examples_are_valid(kubernetes: str, tmp_path: Path) -> None:
    """Everything under `deploy/` can be applied as it is, twice: no hook of Helm becomes an ordinary object."""
    validate = tool("deploy", "bin", "kubernetes-validate")
    for name in EXAMPLES:
        (tmp_path / f"{Path(name).name}.yaml").write_text(yaml.safe_dump_all(kustomized(name)))
    files = [*(ROOT / "deploy" / "sidecar").glob("*.yaml"), *tmp_path.glob("*.yaml")]

    hooks = [one for name in EXAMPLES for one in kustomized(name) if "helm.sh/hook" in str(one["metadata"])]

    assert 4 == len(files)
    assert [] == hooks
    assert "resource deployment/" in run(validate, "--strict", "-k", kubernetes, *files).stdout


def test_the_example_app_has_its_own_key_and_scopes() -> None:
    """The app's own values take precedence over the component's."""
    spec = only(kustomized("deploy/examples/sidecar-app"), "Deployment", "reports")["spec"]["template"]["spec"]
    container = spec["initContainers"][0]

    assert 65532 == spec["securityContext"]["fsGroup"]
    assert "companies:read threads:read" == {e["name"]: e["value"] for e in container["env"]}["PRODUCTLANE_SCOPES"]
    assert "reports-productlane-key" == spec["volumes"][0]["secret"]["secretName"]
    assert container["image"].startswith("registry.example.com/productlane-gateway:")


def test_the_example_cluster_fits_together() -> None:
    """Services call the egress by its name, from allowed namespaces, as accounts that its policies know."""
    objects = kustomized("deploy/examples/cluster")
    service = only(objects, "Service", "productlane-gateway")
    url = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc/api/v2"
    callers = [only(objects, "Deployment", name) for name in ("billing", "support-bot")]
    allowed = only(objects, "NetworkPolicy", "productlane-gateway")["spec"]["ingress"][0]["from"][0][
        "namespaceSelector"
    ]
    namespaces = {one["metadata"]["name"]: one["metadata"]["labels"] for one in objects if one["kind"] == "Namespace"}
    policy = only(objects, "ConfigMap", "productlane-gateway-policies")["data"]["billing.yaml"]

    for caller in callers:
        container = caller["spec"]["template"]["spec"]["containers"][0]
        assert url == {one["name"]: one["value"] for one in container["env"]}["PRODUCTLANE_BASE_URL"]
        assert allowed["matchLabels"].items() <= namespaces[caller["metadata"]["namespace"]].items()
    assert {80} == {port["port"] for port in service["spec"]["ports"]}
    assert "billing/billing" in policy
    assert [] == [one for one in objects if one["kind"] == "Secret"]
