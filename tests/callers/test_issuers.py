"""`gateway.callers.issuers`: an issuer that rotates its keys, goes down, and is reconfigured."""

from typing import Any

from aiohttp import web

from gateway.callers.callers import Callers
from gateway.callers.identification import Identification
from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.issuers import Issuers
from gateway.core.refusal import Refused
from gateway.telemetry.event import Event
from gateway.telemetry.events.peers import IssuerBack, IssuerFault
from tests.support.clock import Clock
from tests.support.issuer import ACCOUNT, AUDIENCE, NOW, LocalIssuer, Signer, claims_of


class Bench:
    """Callers of a local issuer, with a clock that a test moves."""

    def __init__(self, issuer: LocalIssuer) -> None:
        self.settings = IssuerSettings("kubernetes", issuer.url, AUDIENCE, ca=issuer.ca)
        self.url, self.clock, self.events = issuer.url, Clock(0.0), list[Event]()
        self.issuers = Issuers([self.settings], emit=self.events.append, clock=self.clock)
        callers = Callers({"kubernetes": {ACCOUNT: "pod"}}, {"kubernetes": (self.settings,)})
        self.identification = Identification(callers, self.issuers.keys)

    async def status(self, signer: Signer, **claims: Any) -> int:
        """200 for a token that identifies its caller, else the status of the refusal."""
        try:
            token = signer.sign(claims_of(self.url, **claims))
            assert "pod" == await self.identification.identify([f"Bearer {token}"], now=NOW)
        except Refused as refused:
            return refused.status
        return 200


async def test_keys_rotate_under_a_running_gateway(issuer: LocalIssuer) -> None:
    """Tokens of the old and the new key are believed through a rotation, and those of the old one end with it."""
    bench, old, new = Bench(issuer), issuer.signers[0], Signer("second")
    assert 200 == await bench.status(old)
    issuer.signers = [old, new]
    assert 401 == await bench.status(new)
    bench.clock.now += 10
    assert [200, 200] == [await bench.status(signer) for signer in (new, old)]
    issuer.signers = [new]
    bench.clock.now += 10
    assert 401 == await bench.status(Signer("third"))

    assert [200, 401] == [await bench.status(signer) for signer in (new, old)]
    assert 3 == issuer.key_sets
    await bench.issuers.close()


async def test_an_outage_of_the_issuer_fails_no_known_caller(issuer: LocalIssuer) -> None:
    """While the issuer answers nothing but errors, tokens of its known keys are good, new tokens too.

    An unknown key gets 503, since the same token may be good later. The outage and its end are reported once.
    """
    bench, signer = Bench(issuer), issuer.signers[0]
    assert 200 == await bench.status(signer)
    issuer.answer = lambda _request: web.Response(status=500)
    for _ in range(2):
        bench.clock.now += 10_000
        assert 503 == await bench.status(Signer("other"))
    assert [200, 200] == [await bench.status(signer), await bench.status(signer, jti="another")]
    assert not bench.issuers.statuses()[0].up

    issuer.answer = None
    bench.clock.now += 10
    assert 401 == await bench.status(Signer("other"))
    assert bench.issuers.statuses()[0].up
    why = f"{issuer.url}/.well-known/openid-configuration answers with status 500"
    fault = IssuerFault("kubernetes", why, first=True)
    assert [fault, IssuerFault("kubernetes", why, first=False), IssuerBack("kubernetes")] == bench.events
    assert ["warning", None] == [fault.severity(), IssuerFault("kubernetes", why, first=False).severity()]
    await bench.issuers.close()


async def test_a_new_configuration_keeps_the_keys_of_the_same_issuer(issuer: LocalIssuer) -> None:
    """A reload asks an issuer again only if the issuer's settings changed."""
    bench = Bench(issuer)
    assert 200 == await bench.status(issuer.signers[0])
    other = IssuerSettings("other", issuer.url, "another audience", ca=issuer.ca)

    same = Issuers([bench.settings], after=bench.issuers, clock=bench.clock)
    changed = Issuers([other], after=same, clock=bench.clock)

    assert same.keys[issuer.url] is bench.issuers.keys[issuer.url]
    assert changed.keys[issuer.url] is not bench.issuers.keys[issuer.url]
    await same.close(keep=changed)
