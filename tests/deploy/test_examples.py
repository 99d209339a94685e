"""The examples of `deploy/examples`: objects by the schemas of their kinds, values by the chart and the gateway."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.support.deploy_tools import ROOT, Manifest, manifests, only, pod_specs, run, template, tool

FOLDER = ROOT / "deploy" / "examples"
VALUES = sorted(path for path in FOLDER.rglob("*values.yaml"))
OBJECTS = sorted(path for path in (FOLDER / "integrations").glob("*.yaml") if path not in VALUES)
# Written by hand, for no package that can be installed has these kinds (schemas/README.md).
BY_HAND = {
    path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (Path(__file__).parent / "schemas").glob("*.yaml")
}


def by_hand(one: Manifest) -> dict[str, Any] | None:
    """The schema of an object that was written by hand, if it is of such a kind."""
    schema: dict[str, Any] | None = BY_HAND.get(one["kind"])
    return schema if schema and schema["properties"]["apiVersion"]["const"] == one["apiVersion"] else None


def objects(path: Path) -> list[Manifest]:
    """The objects of a file."""
    return manifests(path.read_text("utf-8"))


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.name)
def test_an_example_is_valid(path: Path) -> None:
    """Each object can be applied as it is: the schema of its kind accepts it, and it has a name and a namespace."""
    tool("crds", "node_modules", "@kubernetes-models", "keda")
    found = objects(path)
    known = [one for one in found if by_hand(one) is None]
    done = run("node", ROOT / "deploy" / "crds.mjs", check=False, input=json.dumps(known))

    assert (0, "") == (done.returncode, done.stdout)
    for one in found:
        Draft202012Validator(by_hand(one) or {}).validate(one)
    assert all(one["metadata"]["namespace"] for one in found)


def test_what_the_csi_driver_mounts_is_valid() -> None:
    """The list in `parameters.objects`, which is text for Kubernetes, is one that the Vault provider reads."""
    (csi,) = objects(FOLDER / "integrations" / "secrets-store-csi.yaml")
    listed = yaml.safe_load(csi["spec"]["parameters"]["objects"])

    Draft202012Validator(BY_HAND["SecretProviderClass"]["$defs"]["objects"]).validate(listed)


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_misspelt_field_of_an_example_is_noticed(kind: str) -> None:
    """The schemas that were written by hand are strict: one more field in the specification is a fault."""
    (one,) = [one for path in OBJECTS for one in objects(path) if one["kind"] == kind and by_hand(one)]
    one["spec"]["misspelt"] = 1

    assert not Draft202012Validator(by_hand(one) or {}).is_valid(one)


def test_a_wrong_type_in_a_policy_of_cilium_is_noticed() -> None:
    """The schema of Cilium's policies looks into the rules."""
    tool("crds", "node_modules", "@kubernetes-models", "cilium")
    (one,) = objects(FOLDER / "integrations" / "cilium.yaml")
    one["spec"]["egress"][0]["toPorts"][0]["ports"][0]["port"] = 53
    done = run("node", ROOT / "deploy" / "crds.mjs", check=False, input=json.dumps([one]))

    assert done.returncode
    assert "CiliumNetworkPolicy productlane-gateway" in done.stdout


@pytest.mark.parametrize("version", ["3", "4"])
@pytest.mark.parametrize("path", VALUES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_values_of_an_example_render(path: Path, version: str, tmp_path: Path) -> None:
    """The chart accepts the values, Kubernetes accepts the objects, and the image name is valid."""
    made = manifests(template(version, path).stdout)
    (tmp_path / "made.yaml").write_text(yaml.safe_dump_all(made))

    assert "/" in only(made, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
    if version == "4":
        run(tool("deploy", "bin", "kubernetes-validate"), "--strict", "-k", "1.33", tmp_path / "made.yaml")


@pytest.mark.parametrize("name", ["argo-cd", "flux"])
def test_values_inside_an_object_render(name: str, tmp_path: Path) -> None:
    """What Argo CD and Flux hand to the chart is accepted by the chart."""
    spec = objects(FOLDER / "integrations" / f"{name}.yaml")[-1]["spec"]
    values: dict[str, Any] = spec["values"] if name == "flux" else spec["source"]["helm"]["valuesObject"]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    made = manifests(template("4", tmp_path / "values.yaml").stdout)

    assert any("pre-upgrade" in str(one["metadata"]) for one in made)
    assert ("replicas" in only(made, "Deployment")["spec"]) == (name == "flux")


def test_keys_of_the_agents_are_closed_to_others() -> None:
    """Vault's agent and the CSI driver write files that the gateway accepts: for owner and group alone."""
    agent = yaml.safe_load((FOLDER / "integrations" / "vault-agent-values.yaml").read_text())["podAnnotations"]
    (csi,) = objects(FOLDER / "integrations" / "secrets-store-csi.yaml")

    assert "0440" == agent["vault.hashicorp.com/agent-inject-perms-productlane"]
    assert all(0o440 == one["filePermission"] for one in yaml.safe_load(csi["spec"]["parameters"]["objects"]))
    made = manifests(template("4", FOLDER / "integrations" / "vault-agent-values.yaml").stdout)
    annotations = only(made, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert "{{ .Data.data.current }}" in annotations["vault.hashicorp.com/agent-inject-template-productlane"]


def test_examples_look_at_series_that_exist() -> None:
    """The metric by which KEDA scales is one of the gateway's."""
    text = (FOLDER / "integrations" / "keda.yaml").read_text()
    names = re.findall(r"productlane_gateway_(\w+)", text)
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")

    assert names
    assert all(f"`{name}`" in reference for name in names)


def test_an_example_runs_the_gateway() -> None:
    """Each set of values gives one pod with the gateway in it, whatever else the pod has."""
    for path in VALUES:
        spec = pod_specs(manifests(template("4", path).stdout))[0]
        assert "gateway" in [one["name"] for one in spec["containers"]]
