"""Refusals of requests whose caller is unknown: what was wrong, and which credential to send."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.callers.callers import Callers
from gateway.callers.kind import Credentials, Rejected
from gateway.callers.kinds import KINDS
from gateway.core.refusal import Code, Reason, Refused

_REALM: Final = "productlane-gateway"
_UPSTREAM_KEY: Final = re.compile(r"\bpl_(v[12])_")
# How soon a caller may try again while an issuer cannot be asked: see `keyset.FLOOR`.
_RETRY_AFTER: Final = "10"


def supplied_key(authorization: Sequence[str]) -> str | None:
    """``v1`` or ``v2`` if a caller sends an upstream key of its own; None if it sends none."""
    for value in authorization:
        if "pl_v" in value and (found := _UPSTREAM_KEY.search(value)):
            return found[1]
    return None


def key_of_v1(callers: Callers) -> Refused:
    """The refusal of a key of version 1."""
    return Refused(
        Code.UNSUPPORTED_KEY_VERSION,
        Reason.KEY_VERSION,
        "Keys of version 1 (pl_v1_…) do not work with version 2 of the Productlane API.",
        note="the caller sends a v1 key of Productlane",
        fix=_instead(callers),
    )


def unidentified(
    callers: Callers, authorization: Sequence[str], shown: Credentials, rejected: Sequence[Rejected]
) -> Refused:
    """The refusal of a request that no kind of credential identifies. ``rejected`` has the reason of each kind."""
    note = "; ".join(outcome.why for outcome in rejected)
    if any(outcome.unavailable for outcome in rejected):
        return Refused(
            Code.ISSUER_UNAVAILABLE,
            Reason.ISSUER,
            "This token cannot be verified now: the keys of its issuer cannot be fetched.",
            note=note,
            headers=(("Retry-After", _RETRY_AFTER),),
        )
    if not authorization and shown.certificate is None:
        uid = "" if shown.uid is None else f"the process that connected is of user {shown.uid}, which no policy lists"
        message = "This gateway needs a credential."
        return _unauthenticated(callers, Reason.CREDENTIAL_MISSING, message, uid, _needed(callers))
    if supplied_key(authorization):
        message = "This is a key of Productlane (pl_v2_…), and not a credential of this gateway."
        note = "the caller sends a key of Productlane"
        return _unauthenticated(callers, Reason.CREDENTIAL_UNKNOWN, message, note, _instead(callers))
    if any(outcome.expired for outcome in rejected):
        return _unauthenticated(callers, Reason.CREDENTIAL_EXPIRED, "The credential has expired.", note)
    return _unauthenticated(
        callers,
        Reason.CREDENTIAL_UNKNOWN,
        "The credential is not known to this gateway.",
        *((note, "") if note else _unlisted(callers, shown)),
    )


def _unlisted(callers: Callers, shown: Credentials) -> tuple[str, str]:
    """The cause and the fix for a credential that no kind knows."""
    if shown.token.count(".") == 2 and callers.issuers:
        return "the token is signed by none of the issuers in `callers`", ""
    if shown.token and callers.by_kind.get("tokens"):
        return "no policy lists this token", "list the digest that `productlane-gateway token` prints in a policy"
    return "no policy lists this credential", _needed(callers)


def _needed(callers: Callers) -> str:
    advice = [kind.advice for name, kind in KINDS.items() if name != "anonymous" and callers.by_kind.get(name)]
    return f"send {', or '.join(dict.fromkeys(advice)) or 'the one of a policy'}"


def _instead(callers: Callers) -> str:
    """What to do for a caller that sends a key of Productlane."""
    if callers.by_kind.get("tokens"):
        return "send the token that `productlane-gateway token` printed for the caller"
    if callers.anonymous is not None and not callers.authenticated:
        return "send no Authorization at all"
    return _needed(callers)


def _unauthenticated(callers: Callers, reason: Reason, message: str, note: str, fix: str = "") -> Refused:
    headers = tuple(_challenges(callers))
    return Refused(Code.UNAUTHENTICATED, reason, message, note=note, fix=fix, headers=headers)


def _challenges(callers: Callers) -> Iterable[tuple[str, str]]:
    """RFC 9110 section 15.5.2: a 401 names at least one scheme."""
    schemes = [kind.challenge for name, kind in KINDS.items() if kind.challenge and callers.by_kind.get(name)]
    for scheme in dict.fromkeys(schemes or ["Bearer"]):
        yield "WWW-Authenticate", f'{scheme} realm="{_REALM}"'
