"""`gateway.callers.credentials`: which caller a credential proves, and who is never taken for another."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.credentials import digest, identify, new_token, supplied_key
from gateway.config.snapshot import Callers
from gateway.core.refusal import Code, Reason, Refused

TOKEN = "plgw_token-of-billing"
AUTHENTICATED = Callers({digest(TOKEN): "billing"}, None)
BOTH = Callers({digest(TOKEN): "billing"}, "anyone")
ANONYMOUS = Callers({}, "anyone")


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
        (Callers({}, None), [], Reason.CREDENTIAL_MISSING),
    ],
)
def test_a_credential_proves_one_caller_or_none(callers: Callers, authorization: list[str], expected: str | Reason) -> None:
    """Exactly the credential that a policy lists is its caller; a wrong one is never taken for anonymous."""
    try:
        found: str | Reason = identify(authorization, callers)
    except Refused as refused:
        found = refused.reason

    assert expected == found


@pytest.mark.parametrize("authorization", [[], ["Bearer wrong"], ["Bearer pl_v2_abcdefgh"]])
def test_a_401_says_how_to_authenticate_and_quotes_nothing(authorization: list[str]) -> None:
    """Every 401 carries WWW-Authenticate (RFC 9110 section 15.5.2), and none repeats what the caller sent."""
    with pytest.raises(Refused) as caught:
        identify(authorization, AUTHENTICATED)
    said = f"{caught.value.message} {caught.value.note} {caught.value.headers}"

    assert (Code.UNAUTHENTICATED, 401) == (caught.value.code, caught.value.status)
    assert ["WWW-Authenticate"] == [name for name, _ in caught.value.headers]
    assert not [value for value in ("wrong", "abcdefgh") if value in said]


def test_a_v1_key_is_told_apart_from_an_unknown_one() -> None:
    """Whoever still sends a v1 key learns that version 2 has other keys: 410, as Productlane itself says it."""
    with pytest.raises(Refused) as caught:
        identify(["Bearer pl_v1_abcdefgh"], AUTHENTICATED)

    assert (Code.UNSUPPORTED_KEY_VERSION, 410) == (caught.value.code, caught.value.status)


@given(st.text(max_size=60), st.booleans())
def test_nobody_guesses_a_token(text: str, bearer: bool) -> None:
    """No other text than the token, with or without the scheme, is its caller, and none breaks the gateway."""
    with pytest.raises(Refused):
        identify([f"Bearer {text}" if bearer else text], AUTHENTICATED)


def test_a_token_is_new_each_time_and_its_policy_line_fits() -> None:
    """`productlane-gateway token` gives 256 bits of chance, and the line beside it lets exactly that token in."""
    token, line = new_token()
    other, _ = new_token()
    callers = Callers({bytes.fromhex(line.removeprefix("sha256:")): "billing"}, None)

    assert re.fullmatch(r"plgw_[A-Za-z0-9_-]{43}", token)
    assert token != other
    assert "billing" == identify([f"Bearer {token}"], callers)


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
    """Callers that hold an upstream key of their own are found, wherever in Authorization they put it."""
    assert version == supplied_key(authorization)
