"""The chart, rendered and judged by the real tools."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import gateway
from gateway.config.schema.gateway import Gateway
from tests.support.deploy_tools import (
    CHART,
    HELMS,
    ROOT,
    SHAPES,
    Manifest,
    helm,
    manifests,
    only,
    pod_specs,
    rendered,
    run,
    template,
    tool,
)
from tests.support.golden import golden

GOLDEN = Path(__file__).parent / "golden"
KUBERNETES = ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
NAME = "egress-productlane-gateway"

# Values that the chart refuses, each with what its message names.
REFUSED = yaml.safe_load((Path(__file__).parent / "refused_values.yaml").read_text())


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_lint_has_nothing_to_say(version: str, shape: str) -> None:
    """Every supported Helm takes the chart with every set of values, warnings being errors."""
    run(helm(version), "lint", "--strict", CHART, "--values", CHART / "ci" / f"{shape}-values.yaml")


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_3_and_4_make_the_same_objects(shape: str) -> None:
    """Helm 3 and Helm 4 install the same objects."""
    old, new = ({(one["kind"], one["metadata"]["name"]): one for one in rendered(v, shape)} for v in HELMS)

    assert old == new


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_every_manifest_is_valid(kubernetes: str, tmp_path: Path) -> None:
    """Every supported Kubernetes takes every object that the chart can make, without an unknown field."""
    validate = tool("deploy", "bin", "kubernetes-validate")
    for shape in SHAPES:
        (tmp_path / f"{shape}.yaml").write_text(yaml.safe_dump_all(rendered("4", shape)))
    done = run(validate, "--strict", "-k", kubernetes, *(tmp_path / f"{shape}.yaml" for shape in SHAPES))
    shown = done.stdout + done.stderr

    assert len(SHAPES) - 1 <= shown.count("resource deployment/") + shown.count("resource pod/")
    assert {"ServiceMonitor", "PodMonitor", "HTTPRoute", "PrometheusRule"} == set(
        re.findall(r"find schema for kind (\w+)", shown)
    )


def crds(objects: list[Manifest]) -> subprocess.CompletedProcess[str]:
    """The problems that the CRDs' schemas find in custom resources."""
    tool("crds", "node_modules")
    return run("node", ROOT / "deploy" / "crds.mjs", check=False, input=json.dumps(objects))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_operators_read_is_valid(shape: str) -> None:
    """The operators of Prometheus and of gateways take the objects that the chart makes for them."""
    objects = [
        one for one in rendered("4", shape) if re.match(r"(monitoring\.coreos|gateway\.networking)", one["apiVersion"])
    ]
    done = crds(objects)

    assert (0, "") == (done.returncode, done.stdout)


def test_what_operators_would_refuse_is_noticed() -> None:
    """An invalid duration and an unknown kind are reported by name."""
    rule = {"alert": "A", "expr": "up", "for": "5 minutes"}
    spec = {"groups": [{"name": "g", "rules": [rule]}]}
    kinds = ["PrometheusRule", "PrometheusRules"]
    shown = crds(
        [
            {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
            for kind in kinds
        ]
    )

    assert 1 == shown.returncode
    assert ["PrometheusRule x", "PrometheusRules x"] == [line.partition(":")[0] for line in shown.stdout.splitlines()]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_objects_are_those_that_were_reviewed(shape: str) -> None:
    """The review of a change shows what the change does in a cluster (`make golden` writes these files)."""
    assert (GOLDEN / f"{shape}.yaml").read_text() == golden(shape)


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("case", REFUSED)
def test_bad_values_are_refused(version: str, case: str, tmp_path: Path) -> None:
    """A mistake in the values is named before anything reaches the cluster."""
    values, named = REFUSED[case]
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump(values))
    done = template(version, CHART / "ci" / "minimal-values.yaml", "--values", str(bad), check=False)

    assert done.returncode
    assert named in done.stderr


def test_what_is_made_from_the_values_is_up_to_date() -> None:
    """The schema, the README's table and the copies of the monitoring files say what their sources say."""
    done = run(sys.executable, ROOT / "helm" / "generate.py", "--check", check=False)

    assert (0, "") == (done.returncode, done.stdout)


def test_every_value_is_explained() -> None:
    """The README explains each value."""
    rows = re.findall(r"^\| `(.+?)` \| .* \| (.*) \|$", (CHART / "README.md").read_text(), re.MULTILINE)
    silent = {name for name, text in rows if not text}

    assert len(rows) > 100
    assert set() == {name for name in silent if not re.match(r"(startup|readiness|liveness)Probe\.", name)}


def test_the_chart_installs_this_version() -> None:
    """The image that the chart asks for by default is the one of this source."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert gateway.__version__ == chart["appVersion"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_chart_brings_no_secret(shape: str) -> None:
    """No value of the chart ends up in a Secret, so none has to be kept out of Git."""
    assert [] == [one for one in rendered("4", shape) if one["kind"] == "Secret"]
    assert not re.search(r"pl_v\d_\w", json.dumps(rendered("4", shape)))


def own_containers(spec: Manifest) -> list[Manifest]:
    """The containers that run the gateway's image, not those that a user added."""
    return [one for one in spec["containers"] if "productlane-gateway" in one["image"]]


@pytest.mark.parametrize("spec", [(shape, i) for shape in ("minimal", "central", "tls") for i in (0, 1)])
def test_pods_meet_pod_security_restricted(spec: tuple[str, int]) -> None:
    """A namespace that enforces the strictest of the Pod Security Standards takes the pods as they are."""
    pod = pod_specs(rendered("4", spec[0]))[spec[1]]
    volumes = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert volumes <= {"configMap", "secret", "projected", "emptyDir"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (False, {"drop": ["ALL"]}) == (context["allowPrivilegeEscalation"], context["capabilities"])
        assert (True, 65532) == (context["readOnlyRootFilesystem"], context["runAsUser"])
        assert "hostPort" not in json.dumps(container)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_words_of_a_container_are_kept(shape: str) -> None:
    """`kubectl describe pod` shows what the gateway printed before it ended, in each pod that the chart renders."""
    own = [one for spec in pod_specs(rendered("4", shape)) for one in own_containers(spec)]

    assert {"FallbackToLogsOnError"} >= {one.get("terminationMessagePolicy") for one in own}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_can_change_is_mounted_as_a_folder(shape: str) -> None:
    """A changed ConfigMap or Secret reaches the running gateway: `subPath` would keep the old one for ever."""
    for pod in pod_specs(rendered("4", shape)):
        for container in own_containers(pod):
            assert [] == [mount for mount in container.get("volumeMounts", ()) if "subPath" in mount]


def changed(*sets: str, shape: str = "minimal") -> list[Manifest]:
    """The chart's objects for a shape with some values changed."""
    pairs = [part for one in sets for part in ("--set", one)]
    return manifests(template("4", CHART / "ci" / f"{shape}-values.yaml", *pairs).stdout)


def test_a_change_of_configuration_restarts_nothing() -> None:
    """Another policy gives another ConfigMap and the same Deployment, so the pods stay and read it."""
    after, before = changed("policies.billing.mode=audit", "config.pacing.max_wait=1s"), rendered("4", "minimal")

    assert only(before, "ConfigMap", NAME) != only(after, "ConfigMap", NAME)
    assert only(before, "ConfigMap", f"{NAME}-policies") != only(after, "ConfigMap", f"{NAME}-policies")
    assert only(before, "Deployment") == only(after, "Deployment")


def test_another_number_of_replicas_restarts_nothing() -> None:
    """`keys` learns the number of replicas from a file, so scaling leaves the pods that run alone."""
    after, before = ([*changed("statusToken.existingSecret=s", f"replicaCount={n}")] for n in (5, 2))

    assert ["5", "2"] == [only(found, "ConfigMap", NAME)["data"]["replicas"] for found in (after, before)]
    assert pod_specs(before) == pod_specs(after)
    assert "file:/etc/gateway/replicas" in str(pod_specs(after)[0])


@pytest.mark.parametrize(
    "setting", ["config.log.level=debug", "listenAddress=[::]", "store.url=redis://r:1/0", "config.redis.prefix=x"]
)
def test_a_setting_of_the_process_replaces_the_pods(setting: str) -> None:
    """Settings that a process reads only at its start take effect with `helm upgrade` alone."""
    templates = [only(one, "Deployment")["spec"]["template"] for one in (rendered("4", "minimal"), changed(setting))]

    assert templates[0]["metadata"]["annotations"] != templates[1]["metadata"]["annotations"]


def test_no_setting_of_the_process_is_forgotten() -> None:
    """Each setting that the gateway reads at its start alone is in the checksum that replaces the pods."""
    (picked,) = re.findall(r"pick \(include .*?\) (.*?) \|", (CHART / "templates" / "_config.tpl").read_text("utf-8"))

    assert {name for name, one in Gateway.settings.items() if one.at_start} == set(shlex.split(picked))


@pytest.mark.parametrize("shape", ["minimal", "central", "tls"])
def test_a_command_in_a_pod_knows_its_configuration(shape: str) -> None:
    """What the runbook runs by `kubectl exec`, such as `check --online`, finds the configuration that is served."""
    containers = [spec["containers"][0] for spec in pod_specs(rendered("4", shape))]
    known = [{one["name"]: one.get("value") for one in container["env"]} for container in containers]
    mounted = [mount["mountPath"] for mount in containers[0]["volumeMounts"]]

    assert {"/etc/gateway/gateway.yaml"} == {variables["PRODUCTLANE_GATEWAY_CONFIG"] for variables in known}
    assert "/etc/gateway" in mounted
    assert [] == [word for container in containers for word in container["args"] if word == "--config"]


@pytest.mark.parametrize("shape", ["minimal", "central", "tls"])
def test_the_gateway_takes_the_configuration_that_the_chart_writes(shape: str, tmp_path: Path) -> None:
    """What the chart renders is what the gateway reads: nothing is quoted away, rounded or left out."""
    objects = rendered("4", shape)
    (tmp_path / "policies").mkdir()
    for one in objects:
        if one["kind"] != "ConfigMap" or one["metadata"]["name"] == f"{NAME}-dashboard":
            continue
        for name, text in one["data"].items():
            folder = tmp_path if name == "gateway.yaml" else tmp_path / "policies"
            (folder / name).write_text(text)
    text = (tmp_path / "gateway.yaml").read_text().replace("/etc/gateway-policies", str(tmp_path / "policies"))
    folder = tmp_path / "keys"
    for path in [*re.findall(r"file:/run/secrets/(\S+)", text), "tls.crt", "tls.key", "ca.crt"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"pl_v2_{len(path):0>20}")
        (folder / path).chmod(0o600)
    if "/run/secrets-tls" in text:
        _certificates(folder)
    text = text.replace("/run/secrets-tls", str(folder)).replace("file:/run/secrets", f"file:{folder}")
    (tmp_path / "gateway.yaml").write_text(text)
    done = run(
        sys.executable, "-m", "gateway", "check", "--config", tmp_path / "gateway.yaml",
        env={"PATH": "/usr/bin:/bin", "BILLING_KEY": "pl_v2_abcdefghijklmnop"}, check=False,
    )  # fmt: skip
    shown = done.stderr.splitlines()
    if shown and all("not available in this version" in line or "nobody can be this caller" in line for line in shown):
        pytest.skip(f"this version of the gateway lacks what the shape needs: {shown[0]}")

    assert (0, []) == (done.returncode, shown)


def _certificates(folder: Path) -> None:
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("gateway.test")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    (folder / "tls.key").chmod(0o600)
    authority.cert_pem.write_to_path(folder / "ca.crt")


def test_the_service_leads_to_traffic_alone() -> None:
    """Metrics and the status page are not behind the name that callers use."""
    ports = only(rendered("4", "central"), "Service", NAME)["spec"]["ports"]

    assert ["http"] == [port["targetPort"] for port in ports]


@pytest.mark.parametrize(
    ("shape", "ports"),
    [
        ("minimal", [[53, 53], [443], ["http"]]),
        ("central", [[53, 53], [443], [6380], [443, 6443], ["http", "metrics"]]),
        ("tls", [[53, 53], [443], [6379], ["http"]]),
    ],
)
def test_the_gateway_reaches_what_it_needs_and_nothing_else(shape: str, ports: list[list[int | str]]) -> None:
    """Open are DNS and Productlane, Redis if used, the API server for Kubernetes callers, and pods of the release."""
    egress = only(rendered("4", shape), "NetworkPolicy")["spec"]["egress"]

    assert ports == [[port["port"] for port in rule["ports"]] for rule in egress]


def test_keys_cannot_leave_for_a_private_network() -> None:
    """Productlane is on the Internet, so addresses of the cluster and of the cloud's metadata are not it."""
    blocks = only(rendered("4", "minimal"), "NetworkPolicy")["spec"]["egress"][1]["to"]

    assert {"10.0.0.0/8", "169.254.0.0/16"} < set(blocks[0]["ipBlock"]["except"])
    assert {"fc00::/7", "fe80::/10"} == set(blocks[1]["ipBlock"]["except"])


def tokens(spec: Manifest) -> dict[str, list[str]]:
    """The containers of a pod that mount a token for the API server, by the name of its volume."""
    names = [one["name"] for one in spec["volumes"] if "serviceAccountToken" in str(one)]
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    return {
        name: [one["name"] for one in containers if name in str(one.get("volumeMounts"))]
        for name in names + ["token"] * bool(spec["automountServiceAccountToken"])
    }


@pytest.mark.parametrize("shape", ["minimal", "central", "tls", "umbrella"])
def test_only_the_gateway_has_a_token_and_only_if_it_asks_the_api_server(shape: str) -> None:
    """Kubernetes callers, or an `existingConfig` that says so, get a token of an hour; no other container has one."""
    deployment = only(rendered("4", shape), "Deployment")["spec"]["template"]["spec"]
    wanted = {"api-server": ["gateway"]} if shape in ("central", "umbrella") else {}

    assert wanted == tokens(deployment)
    assert "expirationSeconds" in str(deployment) or not wanted


@pytest.mark.parametrize(
    "elsewhere",
    [
        "config.callers.kubernetes.jwks=file:/etc/jwks/keys.json",
        "config.callers.kubernetes.issuer=https://kubernetes.default.svc.example.com",
        "config.callers.kubernetes.issuer=https://oidc.example.com/id/1",
        "clusterDomain=corp.example",
    ],
)
def test_no_other_issuer_gets_the_token(elsewhere: str) -> None:
    """An issuer other than the API server is asked without a token, and no extra port is opened."""
    objects = changed(elsewhere, shape="central")

    assert [{}] * 3 == [tokens(spec) for spec in pod_specs(objects)]
    assert "6443" not in str(only(objects, "NetworkPolicy"))


@pytest.mark.parametrize(
    ("values", "domain"),
    [
        ([], "cluster.local"),
        (["clusterDomain=corp.example"], "corp.example"),
        (["config.callers.kubernetes.cluster_domain=corp.example"], "corp.example"),
    ],
)
def test_the_gateway_knows_the_domain_of_the_cluster(values: list[str], domain: str) -> None:
    """The API server's long name is the same for the chart, which mounts the token, and the gateway, which shows it."""
    issuer = f"config.callers.kubernetes.issuer=https://kubernetes.default.svc.{domain}"
    objects = changed(issuer, *values, shape="central")
    config = yaml.safe_load(only(objects, "ConfigMap", NAME)["data"]["gateway.yaml"])

    assert domain == config["callers"]["kubernetes"]["cluster_domain"]
    assert {"api-server": ["gateway"]} == tokens(pod_specs([only(objects, "Deployment")])[0])


def test_the_test_pod_asks_the_issuer_as_the_deployment_does() -> None:
    """`check --online` in the pod of `helm test` has the same token, account and way to the API server."""
    objects = rendered("4", "central")
    gateway, check = (one for one in pod_specs(objects) if "api-server" in tokens(one))
    ports = only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchExpressions"][0]["values"]

    assert {"api-server": ["check"]} == tokens(check)
    assert gateway["serviceAccountName"] == check["serviceAccountName"]
    assert ["gateway", "test"] == ports


def test_replicas_reach_each_other_for_keys_only_with_a_token() -> None:
    """`productlane-gateway keys` in a pod asks every replica at its address; without a token that way is closed."""
    objects = changed("statusToken.existingSecret=s")
    headless = only(objects, "Service", f"{NAME}-headless")["spec"]
    environ = {one["name"]: one["value"] for one in pod_specs(objects)[0]["containers"][0]["env"]}
    rules = [only(found, "NetworkPolicy")["spec"]["ingress"] for found in (objects, rendered("4", "minimal"))]
    inside = [[rule for rule in found if "podSelector" in str(rule.get("from"))] for found in rules]

    assert ("None", True) == (headless["clusterIP"], headless["publishNotReadyAddresses"])
    assert f"http://{NAME}-headless:9090" == environ["PRODUCTLANE_GATEWAY_KEYS_ADMIN"]
    assert "file:/run/secrets-status/token" == environ["PRODUCTLANE_GATEWAY_STATUS_TOKEN"]
    assert [[[{"port": "metrics", "protocol": "TCP"}]], []] == [[rule["ports"] for rule in found] for found in inside]


def test_only_the_monitoring_namespace_scrapes_by_default() -> None:
    """Metrics are open to one namespace until somebody names another."""
    rules = only(rendered("4", "minimal"), "NetworkPolicy")["spec"]["ingress"]
    (scraping,) = [rule for rule in rules if rule["ports"][0]["port"] == "metrics"]

    assert [{"kubernetes.io/metadata.name": "monitoring"}] == [
        one["namespaceSelector"]["matchLabels"] for one in scraping["from"]
    ]


def test_openshift_assigns_users_and_groups() -> None:
    """With `null` for each user and group, the SCC `restricted-v2` accepts the pods; the rest of the context stays."""
    for spec in pod_specs(rendered("4", "openshift")):
        contexts = [spec["securityContext"], *(one["securityContext"] for one in spec["containers"])]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & {name for one in contexts for name in one}
        assert all(one["runAsNonRoot"] for one in contexts)
    assert all("securityContext" not in spec for spec in pod_specs(changed("podSecurityContext=null")))


def test_the_preflight_judges_the_new_files() -> None:
    """The hook of an upgrade reads the configuration and policies that the upgrade brings, before they are in place."""
    objects = rendered("4", "central")
    hooks = [one for one in objects if "pre-upgrade" in str(one["metadata"].get("annotations"))]
    (job,) = [one for one in hooks if one["kind"] == "Job"]

    assert job == hooks[-1]
    assert ["check"] == pod_specs([job])[0]["containers"][0]["args"]
    for suffix in ("", "-policies"):
        new, old = (only(objects, "ConfigMap", f"{name}{suffix}")["data"] for name in (f"{NAME}-preflight", NAME))
        assert f"'{NAME}-preflight{suffix}'" in str(job)
        assert old == new
    assert "serviceAccountName" not in str(job)


@pytest.mark.parametrize(
    ("drain", "seconds"),
    [("{}", 40), ("{delay: 5s, timeout: 1m}", 72), ("{delay: 500ms, timeout: 1h}", 3608), ("{delay: 0s}", 37)],
)
def test_a_pod_has_the_time_to_drain(drain: str, seconds: int, tmp_path: Path) -> None:
    """Kubernetes waits longer than the gateway's drain may take."""
    values = tmp_path / "values.yaml"
    values.write_text(f"config: {{drain: {drain}}}")
    text = template("4", CHART / "ci" / "minimal-values.yaml", "--values", str(values)).stdout
    spec = only(manifests(text), "Deployment")["spec"]["template"]["spec"]

    assert seconds == spec["terminationGracePeriodSeconds"]
    assert "lifecycle" not in spec["containers"][0]


def test_one_replica_has_no_disruption_budget() -> None:
    """A budget for a single pod would stop every drain of its node."""
    assert [] == [one for one in rendered("4", "umbrella") if one["kind"] == "PodDisruptionBudget"]
    assert 1 == only(rendered("4", "minimal"), "PodDisruptionBudget")["spec"]["maxUnavailable"]


@pytest.mark.parametrize("version", HELMS)
def test_an_autoscaled_deployment_starts_with_the_fewest_replicas(version: str) -> None:
    """A fresh install with an autoscaler has `minReplicas`, and never one pod; `null` leaves the number to others."""
    central = CHART / "ci" / "central-values.yaml"
    unset = manifests(template(version, central, "--set", "replicaCount=null").stdout)

    assert 3 == only(rendered(version, "central"), "Deployment")["spec"]["replicas"]
    assert "replicas" not in only(unset, "Deployment")["spec"]


def test_a_disabled_chart_makes_nothing() -> None:
    """An umbrella chart can have it for its sidecar templates alone."""
    assert () == rendered("4", "disabled")


def notes(*values: str) -> str:
    """What Helm prints after an install with the least values and some more."""
    # Helm 3 asks a cluster for its version even for this; its `lint` has rendered the notes too.
    least: list[str | Path] = [
        "--namespace",
        "apps",
        "--values",
        CHART / "ci" / "minimal-values.yaml",
        "--dry-run=client",
    ]
    return run(helm("4"), "install", "egress", CHART, *least, *values).stdout.partition("NOTES:")[2]


def test_the_notes_say_what_to_do_next() -> None:
    """After an install the notes give the URL, the next commands, the place of the keys, and missing steps."""
    shown = notes()

    assert f"http://{NAME}.apps.svc:80/api/v2" in shown
    assert "helm test egress --namespace apps" in shown
    assert "Secret productlane-key, entries current, previous" in shown
    assert "WARNING: image.registry is not set" in shown
    assert "kubernetes.io/metadata.name: monitoring" in shown
    assert "<no value>" not in shown
    assert "image.registry" not in notes("--set", "image.registry=registry.example.com")


@pytest.mark.parametrize(
    ("secret", "asked"),
    [("", "exec POD -- productlane-gateway keys"), ("s", f"exec deploy/{NAME} -- productlane-gateway keys")],
)
def test_the_notes_print_the_commands_of_a_rotation(secret: str, asked: str) -> None:
    """The commands that replace a secret and ask every replica about it can be pasted."""
    shown = notes("--set", f"statusToken.existingSecret={secret}")
    replace = "create secret generic productlane-key --from-file=current --from-file=previous --dry-run=client"

    assert f"kubectl --namespace apps {replace} --output=yaml | kubectl apply --filename -" in shown
    assert asked in shown


def test_rules_and_dashboard_are_taken_whole() -> None:
    """An alert's own `{{ $labels }}` reaches Prometheus as it was written, and a panel's reaches Grafana."""
    objects = rendered("4", "central")
    dashboard = only(objects, "ConfigMap", f"{NAME}-dashboard")["data"]["productlane-gateway.json"]

    assert yaml.safe_load((ROOT / "monitoring" / "rules.yaml").read_text()) == only(objects, "PrometheusRule")["spec"]
    assert json.loads((ROOT / "monitoring" / "dashboard.json").read_text()) == json.loads(dashboard)


def test_alerts_are_about_this_job_and_lead_to_your_runbook(tmp_path: Path) -> None:
    """Rules use the ServiceMonitor's job name after `nameOverride`, and link to the runbook."""
    values = tmp_path / "values.yaml"
    values.write_text(
        "nameOverride: way-out\n"
        "metrics: {prometheusRule: {enabled: true, runbookUrl: 'https://wiki.example/productlane'}}\n"
    )
    text = template("4", CHART / "ci" / "minimal-values.yaml", "--values", str(values)).stdout
    rules = [rule for group in only(manifests(text), "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    (absent,) = [rule for rule in rules if rule.get("alert") == "ProductlaneGatewayAbsent"]

    assert 'absent(up{job="way-out"} == 1), "job", "way-out"' in absent["expr"]
    assert "https://wiki.example/productlane#productlanegatewayabsent" == absent["annotations"]["runbook_url"]
    assert [] == [rule for rule in rules if 'job="productlane-gateway"' in rule["expr"] or "docs/" in str(rule)]


def test_the_package_holds_what_is_needed(tmp_path: Path) -> None:
    """The packaged chart installs, and has neither test values nor files of this machine."""
    run(helm("4"), "package", CHART, "--destination", tmp_path)
    package = next(tmp_path.glob("*.tgz"))
    names = subprocess.run(
        ["tar", "-tzf", package], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    text = template("4", CHART / "ci" / "minimal-values.yaml", chart=package).stdout

    assert [] == [name for name in names if "/ci/" in name or "/." in name]
    assert list(rendered("4", "minimal")) == manifests(text)


def test_policy_checkers_find_nothing(tmp_path: Path) -> None:
    """checkov's rules for Kubernetes and Dockerfiles hold, except for those that this test explains."""
    checkov = tool("deploy", "bin", "checkov")
    lasting = [one for one in rendered("4", "central") if one["kind"] != "Pod"]
    (tmp_path / "central.yaml").write_text(yaml.safe_dump_all(lasting))
    (tmp_path / "Dockerfile").write_text((ROOT / "Dockerfile").read_text())
    skipped = {
        "CKV_DOCKER_9": "apt is named to be removed",
        "CKV_K8S_11": "no CPU limit: throttling is latency",
        "CKV_K8S_15": "IfNotPresent: the tag is a version and a digest can be given",
        "CKV_K8S_35": "a key given as env: in this shape, to see that it works",
        "CKV_K8S_43": "the digest is for the user to give",
    }
    done = run(
        checkov, "--directory", tmp_path, "--skip-download", "--compact", "--quiet", "--framework", "kubernetes", "dockerfile",
        "--skip-check", ",".join(skipped), check=False,
    )  # fmt: skip

    assert [] == re.findall(r"^Check: .*", done.stdout, re.MULTILINE)
    assert 2 == len(re.findall(r"Passed checks: [1-9][0-9]+, Failed checks: 0", done.stdout))
