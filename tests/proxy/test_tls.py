"""The traffic listener over TLS, end to end: real certificates, real handshakes, and who a caller then is."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from gateway.config.schema.gateway import Tls
from gateway.config.tls import BadTls
from gateway.proxy.tls import ListenerTls
from tests.support.certs import ID, Authority
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.recording import Upstream
from tests.support.sentinels import TOKEN
from tests.support.tls import House, ask, connect, refused, spiffe_policy

DOMAIN: Final = {"trusted_spiffe_domain": "cluster.local"}


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Files for a gateway that serves HTTPS."""
    return House(tmp_path)


async def test_a_certificate_is_a_caller(start: Callable[..., Any], house: House, upstream: Upstream) -> None:
    """A workload with a SPIFFE certificate that a policy lists is its caller, with no token and on every request."""
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy()])
    caller = await connect(run, house.client(house.callers.issue(ID)))
    for _ in range(2):
        await caller.send(head(token=None))
        assert 200 == (await caller.response()).status

    assert ["app", "app"] == [line["caller"] for line in await run.lines(2)]
    assert 2 == len(upstream.arrivals)


async def test_a_certificate_that_names_nobody_is_no_caller(
    start: Callable[..., Any], house: House, upstream: Upstream
) -> None:
    """A verified certificate identifies a caller only by a policy's SPIFFE id; the refusal says what was wrong."""
    issue = house.callers.issue
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy(), policy("anyone", token=None)])
    expected = [
        (
            issue("spiffe://cluster.local/ns/other"),
            "is valid, but no policy lists its SPIFFE id spiffe://cluster.local/ns/other",
        ),
        (issue("spiffe://evil.test/ns/billing/sa/billing-api"), "is not of the trusted SPIFFE domain"),
        (issue(ID, "https://x.test"), "holds more than one URI"),
        (issue(dns=["app"]), "holds no SPIFFE id"),
        (issue(ID, ca=True), "is that of an authority and not of a workload"),
    ]
    for identity, why in expected:
        response = await ask(run, house.client(identity))
        assert (401, "unauthenticated") == (response.status, response.code)
        assert f'details="the client certificate {why}; ' in str(response.get("proxy-status"))
    assert not upstream.arrivals


async def test_no_certificate_is_needed(start: Callable[..., Any], house: House) -> None:
    """Beside callers with certificates there are those with tokens, and those with neither, as policies say."""
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy("pod"), policy("app")])

    assert 200 == (await ask(run, house.client(), token="plgw_token-of-app-0123456789")).status
    assert 401 == (await ask(run, house.client())).status
    other = house.client(house.callers.issue("spiffe://cluster.local/ns/other"))
    assert 200 == (await ask(run, other, token="plgw_token-of-app-0123456789")).status
    assert ["app", "-", "app"] == [line["caller"] or "-" for line in await run.lines(3)]


async def test_a_strangers_certificate_gets_no_further_than_tls(
    start: Callable[..., Any], house: House, upstream: Upstream
) -> None:
    """A certificate of another authority, an expired one, or one for servers alone ends the connection."""
    now = time.time()
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy()])
    stranger = Authority().issue(ID)
    expired, server = house.callers.issue(ID, lasts=60), house.callers.issue(ID, client=False)

    assert [True] * 3 == [await refused(run, house.client(identity)) for identity in (stranger, expired, server)]
    assert not upstream.arrivals
    assert expired.certificate.not_valid_after_utc.timestamp() < now


async def test_a_certificate_that_expires_ends_its_connection(start: Callable[..., Any], house: House) -> None:
    """A kept connection ends with the certificate it began with; the caller gets 401 and `Connection: close`."""
    moment = [time.time()]
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy()], clock=lambda: moment[0])
    identity = house.callers.issue(ID)
    caller = await connect(run, house.client(identity))
    await caller.send(head(token=None))
    assert 200 == (await caller.response()).status

    moment[0] = identity.certificate.not_valid_after_utc.timestamp() + 1
    await caller.send(head(token=None))
    response = await caller.response()

    assert (401, "close") == (response.status, response.get("connection"))
    assert "has expired since the connection began" in str(response.get("proxy-status"))
    assert b"" == await caller.closed()


async def test_old_tls_and_plain_http_are_not_spoken(
    start: Callable[..., Any], house: House, upstream: Upstream
) -> None:
    """A TLS listener accepts only TLS 1.2 or newer."""
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy("pod"), policy("app")])
    old = house.client()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    caller = await run.connect()
    await caller.send(head())

    assert not (await caller.closed()).startswith(b"HTTP/")
    assert await refused(run, old)
    assert not upstream.arrivals


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_prove_a_caller(start: Callable[..., Any], house: House, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 carry certificates alike."""
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy()])
    context = house.client(house.callers.issue(ID))
    context.minimum_version = context.maximum_version = version

    assert 200 == (await ask(run, context)).status


async def test_https_without_client_certificates(start: Callable[..., Any], house: House) -> None:
    """Without `client_ca` the listener is HTTPS, asks for no certificate and believes none."""
    tls = {name: value for name, value in house.tls.items() if name != "client_ca"}
    run = await start(tls=tls)
    context = house.client(house.callers.issue(ID))

    assert 200 == (await ask(run, context, token="plgw_token-of-app-0123456789")).status
    assert 401 == (await ask(run, context)).status


async def test_tls_on_a_unix_socket(start: Callable[..., Any], house: House, tmp_path: Path) -> None:
    """Certificates prove callers on a unix socket as well, before the user id does."""
    policies = [spiffe_policy("pod"), policy("user") | {"authenticate": {"unix_uids": [os.getuid()]}}]
    run = await start(listen=f"unix:{tmp_path}/gw", tls=house.tls, callers=DOMAIN, policies=policies)

    assert 200 == (await ask(run, house.client(house.callers.issue(ID)))).status
    assert 200 == (await ask(run, house.client())).status
    assert ["pod", "user"] == [line["caller"] for line in await run.lines(2)]


async def test_new_files_are_used_by_new_connections(start: Callable[..., Any], house: House) -> None:
    """Certificates are renewed without a restart: open connections go on, new ones meet the new files."""
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy()])
    identity = house.callers.issue(ID)
    before = house.client(identity)
    kept = await connect(run, before)
    house.renew(trustme.CA())
    house.callers = Authority()
    house.callers.write(house.ca)
    run.gateway.parts.facts.listeners.tls.reload()
    after = house.client(house.callers.issue(ID))

    for name in ("localhost", "127.0.0.1"):
        caller = await connect(run, after, name)
        await caller.send(head(token=None))
        assert 200 == (await caller.response()).status
    assert await refused(run, before)
    assert await refused(run, house.client(identity))
    await kept.send(head(token=None))
    assert 200 == (await kept.response()).status


async def test_a_renewal_beside_a_broken_change_is_not_lost(start: Callable[..., Any], house: House) -> None:
    """A certificate that was renewed while some policy was broken is served as soon as that policy is mended."""
    run = await start(live=True, tls={name: house.tls[name] for name in ("certificate", "private_key")})
    file = run.folder / "policies" / "0.yaml"
    good = file.read_text()
    file.write_text("caller: [\n")
    house.renew(trustme.CA())
    await run.events("reload", outcome="failure")
    file.write_text(good)
    await run.events("reload", outcome="success")

    assert 200 == (await ask(run, house.client(), TOKEN)).status


async def test_no_session_is_resumed_with_a_certificate(start: Callable[..., Any], house: House) -> None:
    """In TLS 1.3 a certificate is verified in every handshake, so that taking an authority away is heeded by each."""
    run = await start(tls=house.tls, callers=DOMAIN, policies=[spiffe_policy()])
    context = house.client(house.callers.issue(ID))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    address = run.gateway.traffic

    def talk(session: ssl.SSLSession | None) -> tuple[bool | None, ssl.SSLSession | None]:
        with (
            socket.create_connection((address.host, address.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(head(token=None))
            assert tls.recv(20).startswith(b"HTTP/1.1 200")
            return tls.session_reused, tls.session

    first, session = await asyncio.to_thread(talk, None)
    again, _ = await asyncio.to_thread(talk, session)

    assert not first
    assert not again


def test_files_that_are_bad_change_nothing(house: House) -> None:
    """A partial or wrong renewal keeps the last good certificate and reports the problem."""
    paths = {name: Path(path) for name, path in house.tls.items()}
    tls = ListenerTls(Tls(**paths))
    good = paths["private_key"].read_bytes()
    other = trustme.CA().issue_cert("localhost")
    other.private_key_pem.write_to_path(str(paths["private_key"]))

    with pytest.raises(BadTls, match="is not the key of the certificate"):
        tls.reload()
    paths["private_key"].write_bytes(good)
    tls.reload()
