"""`gateway.callers.kubernetes`: which service account a token proves, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.callers.kubernetes import LEEWAY, ServiceAccounts, account_of
from gateway.callers.proof import Unproven
from gateway.callers.tokens import digest
from gateway.config.assembly.snapshot import Issuer
from tests.callers.conftest import ACCOUNT, AUDIENCE, NOW, Clock, Signer, claims_of, key_set

URL = "https://kubernetes.default.svc"
ISSUER = Issuer(URL, AUDIENCE)
SIGNER = Signer("k1")


def proven(**claims: Any) -> str:
    """The account that claims prove, or why they prove none."""
    try:
        return account_of(claims_of(URL, **claims), ISSUER, NOW)[0]
    except Unproven as why:
        return f"no: {why}"


NO_EXP = "no: it has no `exp` that is a time"
NO_NBF = "no: it has no `nbf` that is a time"
AUD = "no: its audience is not `productlane-gateway`"
ISS = "no: its issuer is not the one in `callers.kubernetes.issuer`"
SUB = "no: its subject is not a service account"
DIFFER = "no: its subject and its `kubernetes.io` claim differ"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, ACCOUNT),
        ({"aud": AUDIENCE}, ACCOUNT),
        ({"aud": ["other", AUDIENCE]}, ACCOUNT),
        ({"aud": None}, AUD),
        ({"aud": []}, AUD),
        ({"aud": ["https://kubernetes.default.svc"]}, AUD),
        ({"aud": AUDIENCE + "2"}, AUD),
        ({"aud": AUDIENCE[:-1]}, AUD),
        ({"aud": {AUDIENCE: True}}, AUD),
        ({"aud": [[AUDIENCE]]}, AUD),
        ({"iss": "https://evil.test"}, ISS),
        ({"iss": URL + "/"}, ISS),
        ({"iss": [URL]}, ISS),
        ({"iss": None}, ISS),
        ({"exp": NOW - LEEWAY + 1}, ACCOUNT),
        ({"exp": NOW - LEEWAY}, "no: it has expired"),
        ({"exp": None}, NO_EXP),
        ({"exp": True}, NO_EXP),
        ({"exp": str(NOW + 600)}, NO_EXP),
        ({"exp": float("nan")}, NO_EXP),
        ({"exp": float("inf")}, NO_EXP),
        ({"exp": 10**400}, NO_EXP),
        ({"exp": -1}, NO_EXP),
        ({"nbf": NOW + LEEWAY}, ACCOUNT),
        ({"nbf": NOW + LEEWAY + 1}, "no: it is not valid yet"),
        ({"nbf": None}, ACCOUNT),
        ({"nbf": "now"}, NO_NBF),
        ({"sub": None}, SUB),
        ({"sub": 7}, SUB),
        ({"sub": "billing/billing-api"}, SUB),
        ({"sub": "system:node:node-1"}, SUB),
        ({"sub": "system:serviceaccount:billing"}, SUB),
        ({"sub": "system:serviceaccount:billing:billing-api:x"}, SUB),
        ({"sub": "system:serviceaccount:billing:billing-api\n"}, SUB),
        ({"sub": "system:serviceaccount:Billing:billing-api"}, SUB),
        ({"sub": "system:serviceaccount:billing/x:billing-api"}, SUB),
        ({"sub": "x:system:serviceaccount:billing:billing-api"}, SUB),
        ({"sub": "system:serviceaccount:billing:other"}, DIFFER),
        ({"sub": "system:serviceaccount:other:billing-api"}, DIFFER),
        ({"kubernetes.io": None}, ACCOUNT),
        ({"kubernetes.io": "billing"}, DIFFER),
        ({"kubernetes.io": {"namespace": "billing"}}, DIFFER),
        ({"kubernetes.io": {"namespace": "billing", "serviceaccount": "billing-api"}}, DIFFER),
        ({"kubernetes.io": {"serviceaccount": {"name": "billing-api"}}}, DIFFER),
    ],
)
def test_claims_prove_an_account_or_nothing(claims: dict[str, Any], expected: str) -> None:
    """Issuer, audience, times, subject and Kubernetes' own claim all have to be right; each has its own reason."""
    assert expected == proven(**claims)


class Bench:
    """Service accounts whose keys and clocks a test holds."""

    def __init__(self) -> None:
        self.signers = [SIGNER]
        self.asked = 0
        self.clock, self.monotonic = Clock(), Clock(0.0)
        self.accounts = ServiceAccounts(ISSUER, fetch=self.fetch, clock=self.clock, monotonic=self.monotonic)

    async def fetch(self) -> bytes:
        self.asked += 1
        return key_set(*self.signers)

    async def prove(self, token: str) -> str:
        return await self.accounts.prove(token, digest(token))

    def known(self, token: str) -> str | None:
        return self.accounts.known(digest(token))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Service accounts that know no key and no token."""
    made = Bench()
    yield made
    await made.accounts.close()


async def test_a_token_is_verified_once_and_known_until_it_expires(bench: Bench) -> None:
    """What was found good serves without cryptography, and not a second longer than the token itself."""
    token = SIGNER.sign(claims_of(URL, exp=NOW + 600))
    assert bench.known(token) is None
    assert ACCOUNT == await bench.prove(token)

    bench.clock.now = NOW + 600 + LEEWAY - 1
    assert ACCOUNT == bench.known(token)
    bench.clock.now += 1
    assert bench.known(token) is None
    with pytest.raises(Unproven) as caught:
        await bench.prove(token)
    assert caught.value.expired


async def test_a_refused_token_is_not_remembered_as_good(bench: Bench) -> None:
    """A token that proved nobody proves nobody the second time either."""
    token = SIGNER.sign(claims_of(URL, aud="other"))
    for _ in range(2):
        with pytest.raises(Unproven):
            await bench.prove(token)

    assert bench.known(token) is None


async def test_tokens_of_a_withdrawn_key_are_forgotten(bench: Bench) -> None:
    """A key that has leaked and is withdrawn ends what it has signed, known or not."""
    token = SIGNER.sign(claims_of(URL))
    other = Signer("k2")
    await bench.prove(token)
    bench.signers = [other]
    bench.monotonic.now += 1000

    await bench.prove(other.sign(claims_of(URL, "web/front")))

    assert bench.known(token) is None
    with pytest.raises(Unproven):
        await bench.prove(token)


async def test_a_token_that_is_known_does_not_keep_the_keys_from_aging(bench: Bench) -> None:
    """A caller that sends one and the same token is cut off as well, once its key has been withdrawn."""
    token = SIGNER.sign(claims_of(URL))
    await bench.prove(token)
    bench.signers = [Signer("k2")]
    bench.monotonic.now += 300

    async with asyncio.timeout(10):
        while bench.known(token) is not None:  # noqa: ASYNC110 - turns of the loop, not a time
            await asyncio.sleep(0)
    assert 2 == bench.asked


async def test_the_memory_of_good_tokens_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens callers come with, the oldest are forgotten, and verified again when they return."""
    monkeypatch.setattr("gateway.callers.kubernetes._MOST_PROVEN", 3)
    tokens = [SIGNER.sign(claims_of(URL, jti=str(number))) for number in range(5)]
    for token in tokens:
        await bench.prove(token)

    assert [None, None, *[ACCOUNT] * 3] == [bench.known(token) for token in tokens]
    assert ACCOUNT == await bench.prove(tokens[0])


async def test_the_reason_tells_an_unknown_key_from_no_keys(bench: Bench) -> None:
    """On call, an issuer that is down looks different from a token that it never signed."""
    with pytest.raises(Unproven, match="its issuer has no such key"):
        await bench.prove(Signer("stranger").sign(claims_of(URL)))

    lonely = Bench()
    lonely.signers = []
    with pytest.raises(Unproven, match="the issuer's keys cannot be had"):
        await lonely.prove(SIGNER.sign(claims_of(URL)))
    await lonely.accounts.close()
