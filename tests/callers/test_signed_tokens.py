"""`gateway.callers.signed_tokens`: a token of an issuer is verified once, and known for as long as it is good."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.keyset import FLOOR, KeySet
from gateway.callers.kind import Credentials, Rejected, Waiting
from gateway.callers.kubernetes import account_of
from gateway.callers.signed_tokens import LEEWAY, SignedTokens
from gateway.callers.tokens import digest
from tests.support.clock import Clock
from tests.support.issuer import ACCOUNT, AUDIENCE, NOW, Signer, claims_of, key_set, keys_of

URL = "https://kubernetes.default.svc"
ISSUER = IssuerSettings("kubernetes", URL, AUDIENCE)
SIGNER = Signer("k1")


class Bench:
    """Tokens of an issuer whose keys and clocks a test controls. Each account is a caller of the same name."""

    def __init__(self) -> None:
        self.signers = [SIGNER]
        self.asked, self.verified = 0, 0
        self.clock, self.monotonic = Clock(NOW), Clock(0.0)
        self.keys = KeySet("issuer", self.fetch, max_age=300, clock=self.monotonic)
        self.tokens = SignedTokens("the token", [ISSUER], {URL: self.keys}, self.caller_of)

    async def fetch(self) -> bytes:
        self.asked += 1
        return key_set(*self.signers)

    def caller_of(self, _issuer: IssuerSettings, claims: Mapping[str, Any]) -> str | Rejected:
        self.verified += 1
        return account_of(claims)

    def now(self, token: str) -> str | Rejected | Waiting | None:
        return self.tokens.verify(Credentials(token, digest(token), None, None, self.clock.now))

    async def verify(self, token: str) -> str | Rejected | None:
        outcome = self.now(token)
        if isinstance(outcome, Waiting):
            await outcome.keys.ask()
            outcome = self.now(token)
        assert not isinstance(outcome, Waiting)
        return outcome


@pytest.fixture
def bench() -> Bench:
    """Tokens of an issuer whose keys were not fetched yet."""
    return Bench()


async def test_a_token_is_verified_once_and_known_until_it_expires(bench: Bench) -> None:
    """A verified token is remembered until it expires, without cryptography."""
    token = SIGNER.sign(claims_of(URL, exp=NOW + 600))
    assert isinstance(bench.now(token), Waiting)
    assert ACCOUNT == await bench.verify(token)

    bench.clock.now = NOW + 600 + LEEWAY - 1
    assert ACCOUNT == bench.now(token)
    assert 1 == bench.verified
    bench.clock.now += 1
    expired = bench.now(token)
    assert isinstance(expired, Rejected)
    assert expired.expired


async def test_a_refused_token_is_not_remembered_as_good(bench: Bench) -> None:
    """A token without a caller is refused the second time too."""
    token = SIGNER.sign(claims_of(URL, aud="other"))

    assert [True, True] == [isinstance(await bench.verify(token), Rejected) for _ in range(2)]


async def test_tokens_of_a_withdrawn_key_are_forgotten(bench: Bench) -> None:
    """A withdrawn key invalidates all of its tokens, remembered or not."""
    token, other = SIGNER.sign(claims_of(URL)), Signer("k2")
    assert ACCOUNT == await bench.verify(token)
    bench.signers = [other]
    bench.monotonic.now += 1000
    assert "web/front" == await bench.verify(other.sign(claims_of(URL, "web/front")))

    assert isinstance(await bench.verify(token), Rejected)


async def test_a_key_is_withdrawn_in_the_background(bench: Bench) -> None:
    """A caller that sends one and the same token is cut off as well, once its key has been withdrawn."""
    token = SIGNER.sign(claims_of(URL))
    assert ACCOUNT == await bench.verify(token)
    bench.signers = [Signer("k2")]
    bench.monotonic.now += 300
    bench.keys.refresh_in_time()

    async with asyncio.timeout(10):
        while bench.now(token) == ACCOUNT:  # noqa: ASYNC110 - turns of the loop, not a time
            await asyncio.sleep(0)
    assert 2 == bench.asked


@pytest.fixture
def three_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.callers.signed_tokens._MOST_VERIFIED", 3)


async def test_the_memory_of_good_tokens_is_bounded(three_remembered: None, bench: Bench) -> None:
    """However many tokens callers come with, those used longest ago are forgotten, and verified again on return."""
    tokens = [SIGNER.sign(claims_of(URL, jti=str(number))) for number in range(5)]
    for token in tokens:
        await bench.verify(token)
    assert 5 == bench.verified

    assert [ACCOUNT] * 3 == [bench.now(token) for token in tokens[2:]]
    assert 5 == bench.verified
    assert ACCOUNT == await bench.verify(tokens[0])
    assert 6 == bench.verified


async def test_no_keys_is_another_answer_than_an_unknown_key(bench: Bench) -> None:
    """An issuer that is down looks different from a token that it never signed: the first is worth another try."""
    unknown = await bench.verify(Signer("stranger").sign(claims_of(URL)))
    bench.signers = []
    bench.monotonic.now += FLOOR
    down = await bench.verify(Signer("stranger").sign(claims_of(URL)))

    assert Rejected("the token is not accepted: the issuer has no key with this `kid`") == unknown
    expected = "the token cannot be verified: the keys of its issuer cannot be fetched"
    assert Rejected(expected, unavailable=True) == down


async def test_each_token_is_verified_with_the_keys_of_its_own_issuer() -> None:
    """A token of one issuer is nothing at another, and not even with a key of the same name does it pass for one."""
    one, other = Signer("k"), Signer("k")
    settings = [IssuerSettings(name, f"https://{name}.test", AUDIENCE) for name in ("one", "other")]

    keys = {"https://one.test": keys_of(one), "https://other.test": keys_of(other)}
    for known in keys.values():
        await known.ask()
    tokens = SignedTokens("the token", settings, keys, lambda issuer, _claims: issuer.name)

    def found(signer: Signer, issuer: str) -> str:
        token = signer.sign(claims_of(issuer))
        outcome = tokens.verify(Credentials(token, digest(token), None, None, NOW))
        return outcome if isinstance(outcome, str) else outcome.why if isinstance(outcome, Rejected) else str(outcome)

    assert ["one", "other"] == [found(one, "https://one.test"), found(other, "https://other.test")]
    wrong = "the token is not accepted: its signature is wrong"
    assert [wrong, wrong] == [found(one, "https://other.test"), found(other, "https://one.test")]
    assert "None" == found(one, "https://third.test")
