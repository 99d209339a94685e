"""`gateway.callers.issuer`: keys from a real issuer over HTTPS, or from a file."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from msgspec.structs import replace

from gateway.callers.issuer import source_of
from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.signatures import NoKeys, read_keys
from gateway.net.resolver import Names, Resolver
from tests.support.issuer import AUDIENCE, LocalIssuer, Signer, key_set


def settings(issuer: LocalIssuer, **other: Any) -> IssuerSettings:
    return IssuerSettings(**{"name": "cluster", "issuer": issuer.url, "audience": AUDIENCE, "ca": issuer.ca, **other})


async def why_not(issuer: IssuerSettings) -> str:
    """The reason why no keys were fetched; `{…}` is the issuer's address in front of the path."""
    with pytest.raises(NoKeys) as caught:
        await source_of(issuer)()
    return str(caught.value).replace(issuer.issuer, "{…}")


async def test_keys_are_found_by_discovery(issuer: LocalIssuer) -> None:
    """The issuer's configuration leads to its keys; both are asked for over HTTPS that its CA vouches for."""
    keys = read_keys(await source_of(settings(issuer))())

    assert {"first"} == set(keys)
    assert ["/cluster/.well-known/openid-configuration", "/cluster/openid/v1/jwks"] == [a.path for a in issuer.asked]
    assert [None, None] == [asked.authorization for asked in issuer.asked]


async def test_the_gateways_own_token_is_shown_where_there_is_one(issuer: LocalIssuer, tmp_path: Path) -> None:
    """An API server shows its keys to service accounts; the token file is reread, because Kubernetes rotates it."""
    file = tmp_path / "token"
    source = source_of(settings(issuer, token=file))
    await source()
    for text in ("eyJ.one.x\n", "eyJ.two.x"):
        file.write_text(text)
        await source()
    for text in ("two lines\r\nX-Evil: 1", "two words", ""):
        file.write_text(text)
        await source()

    shown = [asked.authorization for asked in issuer.asked]
    assert [None] * 2 + ["Bearer eyJ.one.x"] * 2 + ["Bearer eyJ.two.x"] * 2 + [None] * 6 == shown


MOUNT = "set `serviceAccount.mountToken: true` in the chart, or `automountServiceAccountToken: true` in the pod"
ASKED = "{…}/.well-known/openid-configuration"


def with_body(body: bytes) -> Callable[[web.Request], web.Response]:
    return lambda _request: web.Response(body=body)


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (
            {"issuer": "https://evil.test"},
            f"{ASKED}: the issuer calls itself `https://evil.test`, and the configuration `{{…}}`",
        ),
        ({"issuer": None}, f"{ASKED}: the issuer calls itself nothing, and the configuration `{{…}}`"),
        ({"jwks_uri": "http://localhost/jwks"}, f"{ASKED}: the issuer names no https:// address of its keys"),
        ({"jwks_uri": ["https://localhost/jwks"]}, f"{ASKED}: the issuer names no https:// address of its keys"),
        ({"jwks_uri": "https://localhost:99999/jwks"}, "https://localhost:99999/jwks: its address cannot be used"),
        ({"jwks_uri": "https://localhost:1/jwks"}, "https://localhost:1/jwks: the connection was refused"),
    ],
)
async def test_a_configuration_that_leads_astray_is_refused(
    issuer: LocalIssuer, configuration: dict[str, Any], expected: str
) -> None:
    """Keys come only from the address that the configured issuer names, and never over plain HTTP."""
    issuer.configuration = configuration

    assert expected == await why_not(settings(issuer))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda _r: web.Response(status=500), f"{ASKED} answers with status 500"),
        (lambda _r: web.Response(status=302, headers={"Location": "/x"}), f"{ASKED} answers with status 302"),
        (with_body(b"<html>"), f"{ASKED}: the issuer's configuration is not a JSON object"),
        (with_body(b"[]"), f"{ASKED}: the issuer's configuration is not a JSON object"),
        (with_body(b"x" * 300_000), f"{ASKED}: the answer is too long"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_told(
    issuer: LocalIssuer, answer: Callable[[web.Request], web.Response], expected: str
) -> None:
    """Any fault in the issuer's answer is logged and crashes nothing."""
    issuer.answer = answer

    assert expected == await why_not(settings(issuer))


async def test_only_the_configured_ca_is_believed(issuer: LocalIssuer, tmp_path: Path) -> None:
    """An attacker between the gateway and the issuer cannot say who callers are."""
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(str(other))
    refused = f"{ASKED}: its TLS certificate is not trusted"

    assert refused == await why_not(settings(issuer, ca=other))
    assert refused == await why_not(settings(issuer, ca=None))
    assert not issuer.asked


async def test_a_ca_that_is_not_there_is_told(issuer: LocalIssuer, tmp_path: Path) -> None:
    """Outside a cluster, where Kubernetes mounts no CA, the log says so."""
    nothing = tmp_path / "nothing"
    missing = f"{{…}}: the file of its CA, {nothing}, is missing"

    assert missing == await why_not(settings(issuer, ca=nothing))
    assert f"{missing}; {MOUNT}, or set `callers.kubernetes.ca`" == await why_not(
        settings(issuer, ca=nothing, token=tmp_path / "token")
    )


async def test_a_refusal_names_what_is_missing(issuer: LocalIssuer, tmp_path: Path) -> None:
    """An API server that does not show its keys to the gateway says what helps."""
    issuer.answer = lambda _request: web.Response(status=403)
    token = tmp_path / "token"
    without = await why_not(settings(issuer, token=token))
    token.write_text("eyJ.one.x")

    refused = f"{ASKED} answers with status 403; "
    assert f"{refused}it wants a credential, and the gateway has none for it: give its keys as a file, by `jwks`" == (
        await why_not(settings(issuer))
    )
    assert f"{refused}the gateway has no token of its own to show: {MOUNT}" == without
    role = "bind the ClusterRole `system:service-account-issuer-discovery` to the gateway's service account"
    assert refused + role == await why_not(settings(issuer, token=token))


async def test_an_issuer_that_is_silent_is_given_up(issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers whose key is unknown wait for a limited time."""
    monkeypatch.setattr("gateway.callers.issuer.TIMEOUT", 0.05)
    issuer.gate = asyncio.Event()

    assert f"{ASKED}: no answer in time" == await why_not(settings(issuer))
    issuer.gate.set()


async def test_keys_may_be_in_a_file(tmp_path: Path) -> None:
    """Keys may come from a file, which is reread each time."""
    file = tmp_path / "jwks.json"
    source = source_of(IssuerSettings("kubernetes", "https://kubernetes.default.svc", AUDIENCE, jwks=file))
    found: list[str] = []
    for signer in (Signer("one"), Signer("two")):
        file.write_bytes(key_set(signer))
        found += read_keys(await source())
    file.unlink()

    assert ["one", "two"] == found
    with pytest.raises(NoKeys, match=f"^{file} cannot be read: No such file or directory$"):
        await source()


def test_the_keys_of_the_tests_are_those_of_an_api_server() -> None:
    """What the local issuer publishes has the members that `/openid/v1/jwks` of Kubernetes has."""
    (key,) = json.loads(key_set(Signer("k", "RS256")))["keys"]

    assert {"use", "kty", "kid", "alg", "n", "e"} == set(key)


async def test_the_issuer_is_found_by_the_resolver_that_is_handed_in(issuer: LocalIssuer) -> None:
    """The issuer's name is resolved by the upstream's resolver, once for several requests."""
    asked: list[str] = []

    def lookup(host: str, port: None, **options: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [] if host == "nowhere.test" else socket.getaddrinfo("127.0.0.1", port, **options)

    resolver = Resolver(Names(lookup=lookup))
    why = {}
    for name in ("cluster.test", "cluster.test", "nowhere.test"):
        with pytest.raises(NoKeys) as caught:
            await source_of(replace(settings(issuer), issuer=issuer.url.replace("localhost", name)), resolver)()
        why[name] = str(caught.value).partition(": ")[2]

    # It is there, and its certificate is for `localhost`.
    assert {
        "cluster.test": "its TLS certificate is not trusted",
        "nowhere.test": "its name does not resolve",
    } == why
    assert ["cluster.test", "nowhere.test"] == asked
