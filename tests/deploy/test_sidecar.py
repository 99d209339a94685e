"""The sidecar in its four forms: the chart's template, plain manifests, the Kustomize component, and the example."""

import json
import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.config.assembly.catalog import load_catalog
from tests.support.deploy_tools import CHART, ROOT, Manifest, helm, manifests, only, run, tool

VARIANTS = ["loopback", "unix-socket"]
APP_CHART = {
    "Chart.yaml": "{apiVersion: v2, name: app, version: 1.0.0, dependencies: [{name: productlane-gateway, version: 0.1.0}]}",
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
    """What Kustomize makes of a folder."""
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_component_puts_the_same_sidecar_beside_an_app(variant: str, tmp_path: Path) -> None:
    """Kustomize adds what the plain manifest has, to the Deployments that ask for it and to no other."""
    (tmp_path / "component").symlink_to(ROOT / "deploy" / "sidecar" / "component" / variant)
    container = {"name": "app", "image": "app:1"}
    app: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}}
    app["spec"] = {"selector": {}, "template": {"metadata": {}, "spec": {"containers": [container]}}}
    asking = app | {"metadata": {"name": "asking", "labels": {"productlane-gateway/sidecar": "true"}}}
    import yaml

    (tmp_path / "apps.yaml").write_text(yaml.safe_dump_all([app, asking]))
    component = os.path.relpath(ROOT / "deploy" / "sidecar" / "component" / variant, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [apps.yaml]\ncomponents: [{component}]\n")
    objects = kustomized(str(tmp_path))
    spec = only(objects, "Deployment", "asking")["spec"]["template"]["spec"]

    assert app == only(objects, "Deployment", "app")
    assert plain(variant)["initContainers"] == spec["initContainers"]
    assert plain(variant)["volumes"] == spec["volumes"]
    assert 65532 == spec["securityContext"]["fsGroup"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_a_native_sidecar(variant: str) -> None:
    """The gateway is ready before the app starts and ends after it, and traffic never leaves the pod."""
    spec = plain(variant)
    container = spec["initContainers"][0]
    listen = {one["name"]: one["value"] for one in container["env"]}["PRODUCTLANE_GATEWAY_LISTEN"]

    assert "Always" == container["restartPolicy"]
    assert "/readyz" == container["startupProbe"]["httpGet"]["path"]
    assert listen == ("127.0.0.1:8080" if variant == "loopback" else "unix:/run/productlane/gateway.sock")
    assert [9090] == [port["containerPort"] for port in container["ports"]]
    assert [] == [mount for mount in container["volumeMounts"] if "subPath" in mount]


@pytest.mark.parametrize(("unset", "told"), [("existingSecret", "name the Secret"), ("scopes", "name the scopes")])
def test_a_sidecar_without_key_or_scopes_is_refused(app_chart: Path, unset: str, told: str) -> None:
    """No key is made up, and no scope is given by default."""
    done = run(helm("4"), "template", "x", app_chart, "--set", f"productlane-gateway.sidecar.{unset}=null", check=False)

    assert done.returncode
    assert told in done.stderr


def test_a_sidecar_may_have_any_scope() -> None:
    """The chart takes each of Productlane's scopes for a sidecar, `admin` too."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    pattern = schema["properties"]["sidecar"]["properties"]["scopes"]["items"]["pattern"]

    assert [] == [scope for scope in load_catalog().scopes if not re.search(pattern, scope)]


@pytest.mark.parametrize("kubernetes", ["1.29", "1.33", "1.37"])
def test_manifests_and_examples_are_valid(kubernetes: str, tmp_path: Path) -> None:
    """Everything under `deploy/` can be applied as it is."""
    import yaml

    validate = tool("deploy", "bin", "kubernetes-validate")
    for name in ("cluster", "sidecar-app"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump_all(kustomized(f"deploy/examples/{name}")))
    files = [*(ROOT / "deploy" / "sidecar").glob("*.yaml"), *tmp_path.glob("*.yaml")]

    assert 4 == len(files)
    assert "resource deployment/" in run(validate, "--strict", "-k", kubernetes, *files).stdout


def test_the_example_app_has_its_own_key_and_scopes() -> None:
    """What an app sets for itself wins over what the component brings."""
    spec = only(kustomized("deploy/examples/sidecar-app"), "Deployment", "reports")["spec"]["template"]["spec"]
    container = spec["initContainers"][0]

    assert "companies:read threads:read" == {e["name"]: e["value"] for e in container["env"]}["PRODUCTLANE_SCOPES"]
    assert "reports-productlane-key" == spec["volumes"][0]["secret"]["secretName"]
    assert container["image"].startswith("registry.example.com/productlane-gateway:")


def test_the_example_cluster_fits_together() -> None:
    """Services call the name that the egress has, from namespaces that it lets in, as accounts that its policies know."""
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
