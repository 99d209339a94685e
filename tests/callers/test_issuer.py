"""`gateway.callers.issuer`: keys from a real issuer over HTTPS, or from a file."""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from gateway.callers.issuer import source_of
from gateway.callers.kubernetes import ServiceAccounts
from gateway.callers.proof import Unproven
from gateway.callers.signatures import NoKeys, read_keys
from gateway.callers.tokens import digest
from gateway.config.assembly.snapshot import Issuer
from gateway.net.resolver import Names, Resolver
from tests.callers.conftest import ACCOUNT, AUDIENCE, Clock, LocalIssuer, Signer, claims_of, key_set


def settings(issuer: LocalIssuer, **other: Any) -> Issuer:
    return Issuer(**{"issuer": issuer.url, "audience": AUDIENCE, "ca": issuer.ca, **other})


async def why_not(issuer: Issuer) -> str:
    with pytest.raises(NoKeys) as caught:
        await source_of(issuer)()
    return str(caught.value)


async def test_keys_are_found_by_discovery(issuer: LocalIssuer) -> None:
    """The issuer's configuration leads to its keys; both are asked for over HTTPS that its CA vouches for."""
    keys = read_keys(await source_of(settings(issuer))())

    assert {"first"} == set(keys)
    assert ["/cluster/.well-known/openid-configuration", "/cluster/openid/v1/jwks"] == [a.path for a in issuer.asked]
    assert [None, None] == [asked.authorization for asked in issuer.asked]


async def test_the_gateways_own_token_is_shown_where_there_is_one(issuer: LocalIssuer, tmp_path: Path) -> None:
    """An API server shows its keys to service accounts; the token's file is read anew, since Kubernetes rotates it."""
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


async def test_keys_rotate_under_a_running_gateway(issuer: LocalIssuer) -> None:
    """Tokens of the old and the new key are believed through a rotation, and those of the old one end with it."""
    monotonic, old, new = Clock(0.0), issuer.signers[0], Signer("second")
    accounts = ServiceAccounts(settings(issuer), clock=Clock(), monotonic=monotonic)

    async def proves(signer: Signer) -> bool:
        token = signer.sign(claims_of(issuer.url))
        try:
            return ACCOUNT == (accounts.known(digest(token)) or await accounts.prove(token, digest(token)))
        except Unproven:
            return False

    assert await proves(old)
    issuer.signers = [old, new]
    assert not await proves(new)
    monotonic.now += 10
    assert [True, True] == [await proves(signer) for signer in (new, old)]
    issuer.signers = [new]
    monotonic.now += 10
    assert not await proves(Signer("third"))
    assert [True, False] == [await proves(signer) for signer in (new, old)]
    assert 3 == issuer.key_sets
    await accounts.close()


async def test_an_outage_of_the_issuer_fails_no_known_caller(issuer: LocalIssuer) -> None:
    """While the issuer answers nothing but errors, tokens of its known keys prove their callers, new tokens too."""
    monotonic, faults = Clock(0.0), list[str]()
    signer = issuer.signers[0]
    accounts = ServiceAccounts(settings(issuer), clock=Clock(), monotonic=monotonic, on_fault=faults.append)
    first = signer.sign(claims_of(issuer.url))
    await accounts.prove(first, digest(first))

    issuer.answer = lambda _request: web.Response(status=503)
    monotonic.now += 10_000
    later = signer.sign(claims_of(issuer.url, jti="another"))

    assert ACCOUNT == await accounts.prove(later, digest(later))
    with pytest.raises(Unproven):
        await accounts.prove(Signer("other").sign(claims_of(issuer.url)), b"")
    assert ["the issuer answers with status 503"] == faults
    assert ACCOUNT == accounts.known(digest(first))
    await accounts.close()


def with_body(body: bytes) -> Callable[[web.Request], web.Response]:
    return lambda _request: web.Response(body=body)


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({"issuer": "https://evil.test"}, "the issuer calls itself otherwise than `callers.kubernetes.issuer` does"),
        ({"issuer": None}, "the issuer calls itself otherwise than `callers.kubernetes.issuer` does"),
        ({"jwks_uri": "http://localhost/jwks"}, "the issuer names no https:// address of its keys"),
        ({"jwks_uri": ["https://localhost/jwks"]}, "the issuer names no https:// address of its keys"),
        ({"jwks_uri": "https://localhost:99999/jwks"}, "the issuer cannot be asked: its address cannot be used"),
        ({"jwks_uri": "https://localhost:1/jwks"}, "the issuer cannot be asked: the connection was refused"),
    ],
)
async def test_a_configuration_that_leads_astray_is_refused(
    issuer: LocalIssuer, configuration: dict[str, Any], expected: str
) -> None:
    """Keys are taken only from where the very issuer that is configured says, and never over plain HTTP."""
    issuer.configuration = configuration

    assert expected == await why_not(settings(issuer))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda _r: web.Response(status=403), "the issuer answers with status 403"),
        (lambda _r: web.Response(status=302, headers={"Location": "/x"}), "the issuer answers with status 302"),
        (with_body(b"<html>"), "the issuer's configuration is not a JSON object"),
        (with_body(b"[]"), "the issuer's configuration is not a JSON object"),
        (with_body(b"x" * 300_000), "the issuer's answer is too long"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_told(
    issuer: LocalIssuer, answer: Callable[[web.Request], web.Response], expected: str
) -> None:
    """Whatever is wrong with the issuer's answer is a line for the log, and nobody's crash."""
    issuer.answer = answer

    assert expected == await why_not(settings(issuer))


async def test_only_the_configured_ca_is_believed(issuer: LocalIssuer, tmp_path: Path) -> None:
    """Whoever stands between the gateway and the issuer cannot say who callers are."""
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(str(other))
    refused = "the issuer cannot be asked: its TLS certificate is not trusted"

    assert refused == await why_not(settings(issuer, ca=other))
    assert refused == await why_not(settings(issuer, ca=None))
    assert not issuer.asked


async def test_a_ca_that_is_not_there_is_told(issuer: LocalIssuer, tmp_path: Path) -> None:
    """Outside a cluster, where Kubernetes mounts no CA, the log says so."""
    expected = "the file of the issuer's CA or of the token cannot be read"

    assert expected == await why_not(settings(issuer, ca=tmp_path / "nothing"))


async def test_an_issuer_that_is_silent_is_given_up(issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers whose key is unknown do not wait for ever."""
    monkeypatch.setattr("gateway.callers.issuer.TIMEOUT", 0.05)
    issuer.gate = asyncio.Event()

    assert "the issuer cannot be asked: no answer in time" == await why_not(settings(issuer))
    issuer.gate.set()


async def test_keys_may_be_in_a_file(tmp_path: Path) -> None:
    """Where no issuer can be asked, a file holds the keys; it is read again when a token names another."""
    file, one, two = tmp_path / "jwks.json", Signer("one"), Signer("two")
    file.write_bytes(key_set(one))
    monotonic = Clock(0.0)
    faults: list[str] = []
    issuer = Issuer("https://kubernetes.default.svc", AUDIENCE, jwks=file)
    accounts = ServiceAccounts(issuer, clock=Clock(), monotonic=monotonic, on_fault=faults.append)

    async def prove(signer: Signer) -> str:
        token = signer.sign(claims_of(issuer.issuer))
        return await accounts.prove(token, digest(token))

    assert ACCOUNT == await prove(one)
    file.write_bytes(key_set(two))
    monotonic.now += 10
    assert ACCOUNT == await prove(two)
    with pytest.raises(Unproven):
        await prove(one)
    file.unlink()
    monotonic.now += 10
    with pytest.raises(Unproven):
        await prove(Signer("three"))
    assert ACCOUNT == await prove(two)
    assert ["the file of the keys cannot be read: No such file or directory"] == faults
    await accounts.close()


def test_the_keys_of_the_tests_are_those_of_an_api_server() -> None:
    """What the local issuer publishes has the members that `/openid/v1/jwks` of Kubernetes has."""
    (key,) = json.loads(key_set(Signer("k", "RS256")))["keys"]

    assert {"use", "kty", "kid", "alg", "n", "e"} == set(key)


async def test_the_issuer_is_found_by_the_resolver_that_is_handed_in(issuer: LocalIssuer) -> None:
    """The issuer's name is looked up where the upstream's is, and once for several questions."""
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
