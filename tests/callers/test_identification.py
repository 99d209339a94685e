"""`gateway.callers.identification`: which caller a request proves, and who is never taken for another."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.callers.callers import Callers
from gateway.callers.certificate import Certificate
from gateway.callers.identification import Identification
from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.peers import STRANGER, Peer
from gateway.callers.refusals import supplied_key
from gateway.callers.tokens import digest
from gateway.core.refusal import Code, Reason, Refused
from tests.support.issuer import ACCOUNT, AUDIENCE, NOW, Signer, claims_of, keys_of

TOKEN = "plgw_token-of-billing"
ANYONE: dict[str, dict[Any, str]] = {"anonymous": {True: "anyone"}}
BY_TOKEN: dict[str, dict[Any, str]] = {"tokens": {digest(TOKEN): "billing"}}
AUTHENTICATED = Callers(BY_TOKEN)
BOTH = Callers({**BY_TOKEN, **ANYONE})
ANONYMOUS = Callers(ANYONE)

ISSUER = IssuerSettings("kubernetes", "https://kubernetes.default.svc", AUDIENCE)
SIGNER = Signer("k1")
ID = "spiffe://cluster.local/ns/billing/sa/api"
KINDS: dict[str, dict[Any, str]] = {
    "tokens": {digest(TOKEN): "by-token"},
    "kubernetes": {ACCOUNT: "by-kubernetes"},
    "spiffe": {ID: "by-certificate"},
    "unix_uids": {1000: "by-uid"},
}
SETTINGS = {"kubernetes": (ISSUER,), "spiffe": "cluster.local"}
ALL = Callers(KINDS, SETTINGS)
OPEN = Callers({**KINDS, **ANYONE}, SETTINGS)
SIGNED = SIGNER.sign(claims_of(ISSUER.issuer))
LATE = SIGNER.sign(claims_of(ISSUER.issuer, exp=NOW - 31))
OTHER_ACCOUNT = SIGNER.sign(claims_of(ISSUER.issuer, "billing/other"))
GOOD = Certificate(ID, "", NOW + 60)


def settled(callers: Callers, authorization: Sequence[str], peer: Peer = STRANGER) -> str | Reason | None:
    """The caller or the reason for the refusal, without waiting; None if it must wait."""
    try:
        return Identification(callers).identify_now(authorization, peer, now=NOW)
    except Refused as refused:
        return refused.reason


def identification(callers: Callers) -> Identification:
    """An identification that finds the issuer's key in memory."""
    return Identification(callers, {ISSUER.issuer: keys_of(SIGNER)})


@pytest.mark.parametrize(
    ("callers", "authorization", "expected"),
    [
        (AUTHENTICATED, [f"Bearer {TOKEN}"], "billing"),
        (AUTHENTICATED, [f"bearer {TOKEN}"], "billing"),
        (AUTHENTICATED, [f"BEARER {TOKEN}"], "billing"),
        (AUTHENTICATED, [], Reason.CREDENTIAL_MISSING),
        (AUTHENTICATED, ["Bearer wrong"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer {TOKEN}x"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer {TOKEN[:-1]}"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer {TOKEN.upper()}"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer  {TOKEN}"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer {TOKEN} "], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer {TOKEN}, Bearer {TOKEN}"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Basic {TOKEN}"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [TOKEN], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [""], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, ["Bearer "], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, ["Bearer \u00e9\udcff"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, ["Bearer pl_v2_abcdefgh"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, [f"Bearer sha256:{digest(TOKEN).hex()}"], Reason.CREDENTIAL_UNKNOWN),
        (AUTHENTICATED, ["Bearer wrong", f"Bearer {TOKEN}"], Reason.CREDENTIAL_AMBIGUOUS),
        (AUTHENTICATED, [f"Bearer {TOKEN}", f"Bearer {TOKEN}"], Reason.CREDENTIAL_AMBIGUOUS),
        (AUTHENTICATED, ["Bearer pl_v1_abcdefgh"], Reason.KEY_VERSION),
        (BOTH, [f"Bearer {TOKEN}"], "billing"),
        (BOTH, [], "anyone"),
        (BOTH, ["Bearer wrong"], Reason.CREDENTIAL_UNKNOWN),
        (BOTH, [""], Reason.CREDENTIAL_UNKNOWN),
        (ANONYMOUS, [], "anyone"),
        (ANONYMOUS, ["Bearer whatever"], "anyone"),
        (ANONYMOUS, ["Bearer pl_v2_abcdefgh"], "anyone"),
        (ANONYMOUS, ["Bearer pl_v1_abcdefgh"], Reason.KEY_VERSION),
        (ANONYMOUS, ["a", "b"], Reason.CREDENTIAL_AMBIGUOUS),
        (Callers(), [], Reason.CREDENTIAL_MISSING),
    ],
)
def test_a_credential_proves_one_caller_or_none(
    callers: Callers, authorization: list[str], expected: str | Reason
) -> None:
    """Exactly the credential that a policy lists is its caller; a wrong one is never taken for anonymous."""
    assert expected == settled(callers, authorization)


@pytest.mark.parametrize(
    ("callers", "authorization", "peer", "expected"),
    [
        (ALL, [f"Bearer {TOKEN}"], Peer(GOOD, 1000), "by-certificate"),
        (ALL, [f"Bearer {TOKEN}"], Peer(None, 1000), "by-token"),
        (ALL, [f"Bearer {SIGNED}"], Peer(GOOD, 1000), "by-certificate"),
        (ALL, [f"Bearer {SIGNED}"], Peer(None, 1000), "by-kubernetes"),
        (ALL, [], Peer(None, 1000), "by-uid"),
        (ALL, ["Bearer wrong"], Peer(None, 1000), "by-uid"),
        (ALL, [f"Bearer {LATE}"], Peer(None, 1000), "by-uid"),
        (ALL, [], Peer(None, 1001), Reason.CREDENTIAL_MISSING),
        (OPEN, [], Peer(None, 1001), "anyone"),
        (OPEN, ["Bearer wrong"], Peer(None, 1001), Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [f"Bearer {SIGNED}x"], STRANGER, Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [f"Bearer {LATE}"], STRANGER, Reason.CREDENTIAL_EXPIRED),
        (OPEN, [f"Bearer {OTHER_ACCOUNT}"], STRANGER, Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [f"Basic {SIGNED}"], STRANGER, Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [], Peer(GOOD._replace(spiffe_id=ID + "2")), Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [], Peer(GOOD._replace(spiffe_id=ID.replace("cluster", "other"))), Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [], Peer(Certificate(None, "holds no SPIFFE id", NOW + 60)), Reason.CREDENTIAL_UNKNOWN),
        (OPEN, [], Peer(GOOD._replace(not_after=NOW - 1)), Reason.CREDENTIAL_EXPIRED),
        (OPEN, [f"Bearer {TOKEN}"], Peer(GOOD._replace(not_after=NOW - 1)), "by-token"),
        (OPEN, [f"Bearer {SIGNED}"], Peer(Certificate(None, "x", NOW)), "by-kubernetes"),
        (OPEN, ["Bearer pl_v1_abcdefgh"], Peer(GOOD, 1000), Reason.KEY_VERSION),
        (OPEN, [f"Bearer {SIGNED}", f"Bearer {TOKEN}"], Peer(GOOD, 1000), Reason.CREDENTIAL_AMBIGUOUS),
        (replace(ALL, by_kind={**KINDS, "kubernetes": {}}), [f"Bearer {SIGNED}"], STRANGER, Reason.CREDENTIAL_UNKNOWN),
        (replace(OPEN, settings={"kubernetes": (ISSUER,)}), [], Peer(GOOD), Reason.CREDENTIAL_UNKNOWN),
        (ANONYMOUS, [f"Bearer {SIGNED}"], Peer(GOOD, 1000), "anyone"),
        (Callers({**ANYONE, "unix_uids": {1: "one"}}), ["Bearer x"], STRANGER, Reason.CREDENTIAL_UNKNOWN),
        (Callers({**ANYONE, "spiffe": {ID: "one"}}), ["Bearer x"], STRANGER, Reason.CREDENTIAL_UNKNOWN),
        (
            Callers({**ANYONE, "kubernetes": {ACCOUNT: "one"}}, SETTINGS),
            ["Bearer x"],
            STRANGER,
            Reason.CREDENTIAL_UNKNOWN,
        ),
    ],
)
async def test_the_first_proof_that_holds_decides(
    callers: Callers, authorization: list[str], peer: Peer, expected: str | Reason
) -> None:
    """The order is certificate, token, Kubernetes, unix user; an invalid credential never counts as anonymous."""
    try:
        found: str | Reason = await identification(callers).identify(authorization, peer, now=NOW)
    except Refused as refused:
        found = refused.reason

    assert expected == found


@pytest.mark.parametrize(
    ("authorization", "peer", "note"),
    [
        ([f"Bearer {LATE}"], STRANGER, "the Kubernetes token is not accepted: it has expired"),
        (
            [f"Bearer {SIGNER.sign(claims_of(ISSUER.issuer, aud=['other']))}"],
            STRANGER,
            "the Kubernetes token is not accepted: its audience is not `productlane-gateway`",
        ),
        (
            [f"Bearer {OTHER_ACCOUNT}"],
            STRANGER,
            "the Kubernetes token is valid, but no policy lists its service account billing/other",
        ),
        (
            [],
            Peer(Certificate(None, "holds no SPIFFE id", NOW + 60)),
            "the client certificate holds no SPIFFE id",
        ),
        (
            [f"Bearer {LATE}"],
            Peer(GOOD._replace(not_after=NOW - 1)),
            "the client certificate has expired since the connection began; "
            "the Kubernetes token is not accepted: it has expired",
        ),
    ],
)
async def test_the_note_says_which_proof_failed_and_why(authorization: list[str], peer: Peer, note: str) -> None:
    """Proxy-Status and the log say what was wrong with which kind of credential."""
    with pytest.raises(Refused) as caught:
        await identification(ALL).identify(authorization, peer, now=NOW)

    assert f"{note}; {caught.value.reason.fix}" == caught.value.note


@pytest.mark.parametrize(
    "authorization", [[], ["Bearer wrong"], ["Bearer pl_v2_abcdefgh"], [f"Bearer {OTHER_ACCOUNT}"]]
)
async def test_a_401_says_how_to_authenticate_and_quotes_nothing(authorization: list[str]) -> None:
    """Every 401 carries WWW-Authenticate (RFC 9110 section 15.5.2), and none repeats unverified text."""
    with pytest.raises(Refused) as caught:
        await identification(ALL).identify(authorization, STRANGER, now=NOW)
    said = f"{caught.value.message} {caught.value.note} {caught.value.headers}"

    assert (Code.UNAUTHENTICATED, 401) == (caught.value.code, caught.value.status)
    assert [
        ("WWW-Authenticate", f'{scheme} realm="productlane-gateway"')
        for scheme in ("Certificate", "Bearer", "UnixUser")
    ] == list(caught.value.headers)
    assert not [value for value in ("wrong", "abcdefgh", "eyJ") if value in said]


def test_a_v1_key_is_told_apart_from_an_unknown_one() -> None:
    """A caller that still sends a v1 key learns that version 2 has other keys: 410, as Productlane itself says it."""
    with pytest.raises(Refused) as caught:
        Identification(AUTHENTICATED).identify_now(["Bearer pl_v1_abcdefgh"], now=NOW)

    assert (Code.UNSUPPORTED_KEY_VERSION, 410) == (caught.value.code, caught.value.status)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# Values near those that would be believed: the very parts of good tokens, put together in other ways.
PIECES = [*SIGNED.split("."), *LATE.split("."), *OTHER_ACCOUNT.split("."), TOKEN, "Bearer", " ", ".", "", "="]
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["none", "None", "HS256", "ES256", "RS256", "", None, ["ES256"]]),
        "kid": st.sampled_from(["k1", "k2", "", None, 1, "../k1"]),
        "typ": st.sampled_from(["JWT", "at+jwt"]),
        "jwk": st.just(Signer("k1").jwk),
        "crit": st.sampled_from([["b64"], ["x"], []]),
        "b64": st.booleans(),
    },
)
FORGED = st.builds(
    lambda header, sign: f"{part(header)}.{part(claims_of(ISSUER.issuer))}.{sign}",
    HEADERS,
    st.sampled_from(["", SIGNED.split(".")[2], "AAAA", "e30"]),
)
VALUES = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.lists(st.sampled_from(PIECES), min_size=3, max_size=3).map(".".join),
    FORGED,
)


@given(st.lists(VALUES, max_size=2), st.booleans())
async def test_no_value_is_a_caller_but_by_its_proof(values: list[str], bearer: bool) -> None:
    """Any Authorization is a caller's token, a token signed for its account, or refused."""
    shown = [f"Bearer {value}" if bearer else value for value in values]
    proven = {f"Bearer {TOKEN}": "by-token", f"Bearer {SIGNED}": "by-kubernetes"}
    try:
        found = await identification(OPEN).identify(shown, STRANGER, now=NOW)
    except Refused as refused:
        found = str(refused.status)

    assert found in ({proven.get(shown[0], "401"), "400", "410"} if shown else {"anyone"})
    assert "anyone" == found or len(shown) == 1 or found == "400"


@pytest.mark.parametrize(
    ("authorization", "version"),
    [
        ([], None),
        (["Bearer plgw_x"], None),
        (["Bearer pl_v2_abc"], "v2"),
        (["Bearer pl_v1_abc"], "v1"),
        (["Basic x", "pl_v2_abc"], "v2"),
        (["Bearer xpl_v2_abc"], None),
    ],
)
def test_a_key_in_a_callers_hands_is_noticed(authorization: list[str], version: str | None) -> None:
    """A caller that sends its own upstream key is found, wherever the key is in Authorization."""
    assert version == supplied_key(authorization)


@pytest.mark.parametrize(
    ("kinds", "authorization", "fix", "schemes"),
    [
        ({"tokens": {digest("x"): "a"}}, [], "send a token, as `Authorization: Bearer <token>`", ["Bearer"]),
        (
            {"spiffe": {ID: "a"}},
            [],
            "send a client certificate with its SPIFFE id, in the TLS handshake",
            ["Certificate"],
        ),
        ({"unix_uids": {1: "a"}}, [], "send nothing, from a process whose user a policy lists", ["UnixUser"]),
        (
            {"tokens": {digest("x"): "a"}},
            ["Bearer pl_v2_abcdefgh"],
            "send the token that `productlane-gateway token` printed for the caller",
            ["Bearer"],
        ),
        (
            {"spiffe": {ID: "a"}},
            ["Bearer pl_v2_abcdefgh"],
            "send a client certificate with its SPIFFE id, in the TLS handshake",
            ["Certificate"],
        ),
    ],
)
def test_a_refusal_asks_for_what_this_gateway_takes(
    kinds: dict[str, dict[Any, str]], authorization: list[str], fix: str, schemes: list[str]
) -> None:
    """A set-up without tokens never asks for one, and a caller with a key of Productlane reads what to send instead."""
    with pytest.raises(Refused) as caught:
        Identification(Callers(kinds)).identify_now(authorization, now=NOW)

    assert fix == caught.value.fix
    assert [f'{scheme} realm="productlane-gateway"' for scheme in schemes] == [v for _, v in caught.value.headers]


def test_a_sidecar_needs_no_key_of_version_1() -> None:
    """If the only caller is anonymous, the advice for a v1 key is to send no Authorization."""
    with pytest.raises(Refused) as caught:
        Identification(ANONYMOUS).identify_now(["Bearer pl_v1_abcdefgh"], now=NOW)

    assert (410, "send no Authorization at all") == (caught.value.status, caught.value.fix)
