"""How callers prove themselves, as `gateway.yaml` and the policies say it together."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.callers.issuer_settings import IssuerSettings
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import load
from gateway.config.reading.problem import ConfigError, shown
from gateway.config.schema.gateway import Tls
from tests.support.certs import write_listener
from tests.support.issuer import Signer, key_set

MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ID = "spiffe://cluster.local/ns/billing/sa/api"
CLUSTER = {"issuer": "https://kubernetes.default.svc", "audience": "productlane-gateway"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with certificates and a key set, and room for policies."""
    write_listener(tmp_path)
    (tmp_path / "jwks.json").write_bytes(key_set(Signer("k1")))
    (tmp_path / "policies").mkdir()
    return tmp_path


def loaded(folder: Path, *proofs: dict[str, Any], environ: dict[str, str] | None = None, **settings: Any) -> Snapshot:
    for number, proof in enumerate(proofs or ({"anonymous": True},)):
        path = folder / "policies" / f"{number}.yaml"
        path.write_text(yaml.safe_dump({"caller": f"c{number}", "authenticate": proof}))
    path = folder / "gateway.yaml"
    routes = [{"path": "/**", "keys": ["main"]}]
    path.write_text(yaml.safe_dump({"keys": {"main": {"secrets": ["env:MAIN"]}}, "routes": routes, **settings}))
    return load(path, environ={"MAIN": "pl_v2_mainmainmain", **(environ or {})})


def problems(folder: Path, *proofs: dict[str, Any], **settings: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, *proofs, **settings)
    return [f"{Path(p.file).name}: {p.where}: {p.message}" for p in caught.value.problems]


TLS = {"certificate": "tls.crt", "private_key": "tls.key", "client_ca": "ca.crt"}


def test_every_proof_leads_to_its_caller(folder: Path) -> None:
    """Service accounts, SPIFFE ids and user ids of a policy are its caller's, and what verifies them is at hand."""
    snapshot = loaded(
        folder,
        {"kubernetes": ["billing/api", "billing/worker"]},
        {"spiffe": [ID]},
        {"unix_uids": [0, 1000]},
        listen="unix:gw.sock",
        tls=TLS,
        callers={"kubernetes": CLUSTER, "trusted_spiffe_domain": "cluster.local"},
    )
    callers = snapshot.callers

    assert {"billing/api": "c0", "billing/worker": "c0"} == callers.by_kind["kubernetes"]
    assert {ID: "c1"} == callers.by_kind["spiffe"]
    assert {0: "c2", 1000: "c2"} == callers.by_kind["unix_uids"]
    assert "cluster.local" == callers.settings["spiffe"]
    assert callers.authenticated
    assert (
        Tls(certificate=folder / "tls.crt", private_key=folder / "tls.key", client_ca=folder / "ca.crt")
        == snapshot.settings.tls
    )


@pytest.mark.parametrize("proof", [{"kubernetes": ["a/b"]}, {"unix_uids": [7]}, {"spiffe": [ID]}])
def test_any_proof_ends_anonymous_for_wrong_credentials(folder: Path, proof: dict[str, Any]) -> None:
    """As soon as one policy authenticates, by any kind of credential, a wrong credential is never anonymous."""
    means: dict[str, Any] = {"listen": "unix:gw.sock", "tls": TLS}
    callers = {"kubernetes": CLUSTER, "trusted_spiffe_domain": "cluster.local"}

    assert loaded(folder, {"anonymous": True}, proof, **means, callers=callers).callers.authenticated


def test_an_issuer_in_the_cluster_is_asked_as_kubernetes_wants_it(folder: Path) -> None:
    """Inside the cluster the mounted CA is trusted alone, and the pod's own token is shown."""
    for issuer in ("https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"):
        kubernetes = {**CLUSTER, "issuer": issuer}
        audience, token = CLUSTER["audience"], MOUNTED / "token"
        expected = IssuerSettings("kubernetes", issuer, audience, None, MOUNTED / "ca.crt", token)
        assert (expected,) == loaded(folder, callers={"kubernetes": kubernetes}).callers.issuers

    own_ca = {**CLUSTER, "ca": "ca.crt"}
    expected = IssuerSettings("kubernetes", CLUSTER["issuer"], audience, None, folder / "ca.crt", token)
    assert (expected,) == loaded(folder, callers={"kubernetes": own_ca}).callers.issuers


@pytest.mark.parametrize("issuer", ["https://eks.amazonaws.test/id/ABC", "https://evil.test/kubernetes.default.svc"])
def test_the_gateways_own_token_leaves_the_cluster_never(folder: Path, issuer: str) -> None:
    """An issuer outside is asked without a token, and is trusted as the system trusts it."""
    found = loaded(folder, callers={"kubernetes": {**CLUSTER, "issuer": issuer}}).callers.issuers

    assert (IssuerSettings("kubernetes", issuer, "productlane-gateway"),) == found


def test_keys_from_a_file_need_no_issuer(folder: Path) -> None:
    """With `jwks` nothing is asked over the network; its path is relative to the file that names it."""
    found = loaded(folder, callers={"kubernetes": {**CLUSTER, "jwks": "file:jwks.json"}}).callers.issuers

    jwks = folder / "jwks.json"
    assert (IssuerSettings("kubernetes", CLUSTER["issuer"], "productlane-gateway", jwks=jwks),) == found


def test_single_settings_have_variables(folder: Path) -> None:
    """An image can be given its audience and its certificates by variables, with paths as the process sees them."""
    environ = {
        "PRODUCTLANE_GATEWAY_CALLERS_KUBERNETES_AUDIENCE": "other",
        "PRODUCTLANE_GATEWAY_TLS_CERTIFICATE": str(folder / "tls.crt"),
        "PRODUCTLANE_GATEWAY_TLS_PRIVATE_KEY": str(folder / "tls.key"),
    }
    snapshot = loaded(folder, callers={"kubernetes": CLUSTER}, environ=environ)

    assert ["other"] == [issuer.audience for issuer in snapshot.callers.issuers]
    assert Tls(certificate=folder / "tls.crt", private_key=folder / "tls.key") == snapshot.settings.tls


@pytest.mark.parametrize(
    ("proofs", "settings", "expected"),
    [
        (
            [{"spiffe": ["spiffe://other.local/x"]}],
            {"tls": TLS, "callers": {"trusted_spiffe_domain": "cluster.local"}},
            ["0.yaml: authenticate.spiffe[0]: is not of the trust domain `cluster.local`, which alone is trusted"],
        ),
        (
            [{"spiffe": [ID]}, {"spiffe": [ID]}],
            {"tls": TLS, "callers": {"trusted_spiffe_domain": "cluster.local"}},
            ["1.yaml: authenticate.spiffe[0]: is a SPIFFE id of caller `c0` too"],
        ),
        (
            [{"kubernetes": ["a/b"]}, {"kubernetes": ["a/c", "a/b"]}],
            {"callers": {"kubernetes": CLUSTER}},
            ["1.yaml: authenticate.kubernetes[1]: is a service account of caller `c0` too"],
        ),
        (
            [{"unix_uids": [1]}, {"unix_uids": [1]}],
            {"listen": "unix:gw.sock"},
            ["1.yaml: authenticate.unix_uids[0]: is a user id of caller `c0` too"],
        ),
        (
            [{"unix_uids": [1, 1]}],
            {"listen": "unix:gw.sock"},
            ["0.yaml: authenticate.unix_uids[1]: is named twice"],
        ),
        (
            [{"anonymous": True}],
            {"tls": TLS},
            ["gateway.yaml: tls.client_ca: proves nobody without `callers.trusted_spiffe_domain`"],
        ),
        (
            [{"anonymous": True}],
            {"tls": {**TLS, "private_key": "ca.crt"}, "callers": {"trusted_spiffe_domain": "cluster.local"}},
            ["gateway.yaml: tls.private_key: {ca.crt} holds no private key in PEM"],
        ),
        (
            [{"anonymous": True}],
            {"callers": {"kubernetes": {**CLUSTER, "jwks": "file:nothing.json"}}},
            ["gateway.yaml: callers.kubernetes.jwks: {nothing.json} cannot be read: No such file or directory"],
        ),
        (
            [{"anonymous": True}],
            {"callers": {"kubernetes": {**CLUSTER, "ca": "nothing.crt"}}},
            ["gateway.yaml: callers.kubernetes.ca: {nothing.crt} cannot be read: No such file or directory"],
        ),
        (
            [{"kubernetes": ["a/b"]}],
            {"callers": {"kubernetes": {**CLUSTER, "audience": 7}}},
            [
                "gateway.yaml: callers.kubernetes.audience: expected text, found `7`, which YAML can read as a number; "
                "quote it"
            ],
        ),
    ],
)
def test_what_could_prove_nobody_is_a_problem(
    folder: Path, proofs: list[dict[str, Any]], settings: dict[str, Any], expected: list[str]
) -> None:
    """A credential of another caller, or one that cannot be verified, is reported once, with its place."""
    found = problems(folder, *proofs, **settings)
    texts = [re.sub(r"\{(.+)\}", lambda name: shown(str(folder / name[1])), text) for text in expected]

    assert texts == found


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "[::]:8443"])
def test_tls_does_not_open_the_door_to_anybody(folder: Path, listen: str) -> None:
    """An anonymous policy off loopback is refused with TLS as without: TLS says who serves, not who asks."""
    found = problems(folder, listen=listen, tls={**TLS}, callers={"trusted_spiffe_domain": "cluster.local"})

    assert ["gateway.yaml: listen"] == [problem.rpartition(": others")[0] for problem in found]


@pytest.mark.parametrize(("domain", "token"), [("corp.example", MOUNTED / "token"), ("cluster.local", None)])
def test_the_domain_of_the_cluster_decides_who_sees_the_gateways_own_token(
    folder: Path, domain: str, token: Path | None
) -> None:
    """`callers.kubernetes.cluster_domain` says which longer name of the API server is this cluster's."""
    cluster = {**CLUSTER, "issuer": "https://kubernetes.default.svc.corp.example", "cluster_domain": domain}
    (issuer,) = loaded(folder, {"kubernetes": ["billing/api"]}, callers={"kubernetes": cluster}).callers.issuers

    assert token == issuer.token
