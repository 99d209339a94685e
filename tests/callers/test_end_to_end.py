"""Kubernetes tokens through a whole gateway, with an issuer that rotates its keys and goes down."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.callers.keyset import FLOOR
from tests.support.deadline import eventually
from tests.support.in_process import Running, policy
from tests.support.issuer import ACCOUNT, AUDIENCE, NOW, LocalIssuer, Signer, claims_of
from tests.support.sentinels import TOKEN


def kubernetes_policy(*accounts: str) -> dict[str, Any]:
    return policy("pod") | {"authenticate": {"kubernetes": list(accounts or (ACCOUNT,))}}


@pytest.fixture
async def run(start: Callable[..., Any], issuer: LocalIssuer) -> Running:
    """A gateway that believes the local issuer, with a caller in a pod and one with a token."""
    kubernetes = {"issuer": issuer.url, "audience": AUDIENCE, "ca": str(issuer.ca)}
    gateway: Running = await start(
        callers={"kubernetes": kubernetes}, policies=[kubernetes_policy(), policy("app")], clock=lambda: NOW
    )
    return gateway


async def test_a_pod_is_a_caller_by_its_token(run: Running, issuer: LocalIssuer) -> None:
    """The token that Kubernetes projects into a pod is its credential, and never leaves the gateway."""
    token = issuer.signers[0].sign(claims_of(issuer.url))

    assert [200, 200] == [(await run.ask(token=token)).status for _ in range(2)]
    assert 200 == (await run.ask(token=TOKEN)).status
    assert ["pod", "pod", "app"] == [line["caller"] for line in await run.lines(3)]
    assert token.encode() not in run.upstream.received
    assert 1 == issuer.key_sets


async def test_wrong_tokens_of_pods_are_refused_with_the_reason(run: Running, issuer: LocalIssuer) -> None:
    """Each wrong token is 401 and says in Proxy-Status which kind of credential failed, and why."""
    sign = issuer.signers[0].sign
    forged = f"{Signer('first').sign(claims_of(issuer.url))}"
    wrong = {
        sign(claims_of(issuer.url, aud="https://kubernetes.default.svc")): f"its audience is not `{AUDIENCE}`",
        sign(claims_of(issuer.url, exp=NOW - 60)): "it has expired",
        forged: "its signature is wrong",
        Signer("other").sign(claims_of(issuer.url)): "the issuer has no key with this `kid`",
    }
    for token, why in wrong.items():
        response = await run.ask(token=token)
        assert (401, "unauthenticated") == (response.status, response.code)
        assert f'details="the Kubernetes token is not accepted: {why}; ' in str(response.get("proxy-status"))
    other = await run.ask(token=sign(claims_of(issuer.url, "billing/other")))
    assert "is valid, but no policy lists its service account billing/other" in str(other.get("proxy-status"))
    strange = await run.ask(token=sign(claims_of("https://other.test")))
    assert "the token is signed by none of the issuers in `callers`" in str(strange.get("proxy-status"))
    assert not run.upstream.arrivals
    reasons = [line["reason"] for line in await run.lines(6)]
    assert ["credential_unknown", "credential_expired", *["credential_unknown"] * 4] == reasons


@pytest.mark.slow
async def test_an_issuer_that_is_down_fails_nobody_it_has_vouched_for(run: Running, issuer: LocalIssuer) -> None:
    """With the keys at hand the gateway needs the issuer no more; the log says that it cannot be asked."""
    old = issuer.signers[0]
    assert 200 == (await run.ask(token=old.sign(claims_of(issuer.url)))).status
    issuers = run.gateway.parts.facts.factory.issuers
    assert issuers is not None
    (keys,) = issuers.keys.values()
    issuer.answer = lambda _request: web.Response(status=500)
    keys._asked -= FLOOR
    response = await run.ask(token=Signer("new").sign(claims_of(issuer.url)))
    assert (503, "issuer_unavailable", "10") == (response.status, response.code, response.get("retry-after"))

    assert 200 == (await run.ask(token=old.sign(claims_of(issuer.url, jti="2")))).status
    await run.events("issuer_fault", issuer="kubernetes")
    assert 0 == await run.metric("issuer_up", issuer="kubernetes")
    assert 1 == await run.metric("issuer_faults_total", issuer="kubernetes")
    issuer.answer = None
    keys._asked -= FLOOR
    await run.events("issuer_back", issuer="kubernetes")
    assert 1 == await run.metric("issuer_up", issuer="kubernetes")
    (known,) = (await run.admin("/status.json")).json["issuers"]
    assert (issuer.url, True, 1) == (known["issuer"], known["up"], known["keys"])


@pytest.mark.slow
async def test_a_reload_ends_no_request_that_waits_for_keys(
    start: Callable[..., Any], issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that waits for a slow issuer is answered, although another issuer is configured meanwhile."""
    monkeypatch.setattr("gateway.runtime.serving_factory._GRACE", 0.05)
    issuer.gate = asyncio.Event()
    kubernetes = {"issuer": issuer.url, "audience": AUDIENCE, "ca": str(issuer.ca)}
    run = await start(live=True, callers={"kubernetes": kubernetes}, policies=[kubernetes_policy()], clock=lambda: NOW)
    under_way = asyncio.create_task(run.ask(token=issuer.signers[0].sign(claims_of(issuer.url))))
    await eventually(lambda: asyncio.sleep(0, run.gateway.parts.metrics.in_flight))
    file = run.folder / "gateway.yaml"
    file.write_text(file.read_text().replace(AUDIENCE, "another"))
    await run.events("reload", outcome="success")
    await asyncio.wait({under_way}, timeout=0.5)
    issuer.gate.set()

    assert 200 == (await under_way).status


async def test_a_gateway_starts_without_its_issuer(start: Callable[..., Any]) -> None:
    """An issuer that cannot be reached keeps neither the gateway from starting nor other callers from being served."""
    kubernetes = {"issuer": "https://127.0.0.1:1", "audience": AUDIENCE}
    run = await start(callers={"kubernetes": kubernetes}, policies=[kubernetes_policy(), policy("app")])
    refused = await run.ask(token=Signer("k").sign(claims_of("https://127.0.0.1:1")))

    assert 200 == (await run.ask(token=TOKEN)).status
    assert (503, "issuer_unavailable") == (refused.status, refused.code)
    assert "the keys of its issuer cannot be fetched" in str(refused.get("proxy-status"))
    ready = await run.admin("/readyz")
    assert (503, b"the keys of an issuer of callers' tokens have not been fetched yet\n") == (ready.status, ready.body)


async def test_a_new_process_is_ready_once_it_has_the_keys(
    start: Callable[..., Any], issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose issuer is unreachable stays not ready for 20 seconds at most."""
    issuer.gate = asyncio.Event()
    kubernetes = {"issuer": issuer.url, "audience": AUDIENCE, "ca": str(issuer.ca)}
    waiting = await start(callers={"kubernetes": kubernetes}, policies=[kubernetes_policy()])
    assert 503 == (await waiting.admin("/readyz")).status
    issuer.gate.set()
    await eventually(lambda: ready(waiting))

    monkeypatch.setattr("gateway.runtime.gateway._FIRST_KEYS", 0.05)
    issuer.gate.clear()
    late = await start(callers={"kubernetes": kubernetes}, policies=[kubernetes_policy()])
    await eventually(lambda: ready(late))


async def ready(run: Running) -> bool:
    return 200 == (await run.admin("/readyz")).status


@pytest.mark.slow
def test_what_is_not_configured_is_not_loaded() -> None:
    """A gateway without Kubernetes callers and client certificates does not carry what verifies them, and none carries
    aiohttp's own server, or the status page before somebody looks at it.
    """
    program = (
        "import sys, gateway.runtime.server, gateway.config.load, gateway.cli.serve.serve\n"
        "late = {'jwt', 'cryptography', 'gateway.callers.issuer', 'gateway.callers.x509_svid'}\n"
        "late |= {'aiohttp.web', 'gateway.admin.page', 'gateway.simulator'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert "[]" == made.stdout.strip()
