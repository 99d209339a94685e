"""Signed tokens (JWT, RFC 7519) of configured issuers, verified by the rules of RFC 8725.

Imported where issuers are configured, and not otherwise: see `signatures`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.callers import signatures
from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.keyset import KeySet
from gateway.callers.kind import Credentials, KeySets, Outcome, Rejected, Waiting
from gateway.core.recent import Recent

# How far the clocks of the issuer and of this process may be apart, in seconds.
LEEWAY: Final = 30.0
# Digests of verified tokens; at 200 bytes each they stay under a megabyte.
_MOST_VERIFIED: Final = 4096
# RFC 7515 section 3.1: three parts in base64url.
_SIGNED: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

CallerOf: TypeAlias = Callable[[IssuerSettings, Mapping[str, Any]], str | Rejected]


class _Verified(NamedTuple):
    """A verified token: its caller, until when it counts (Unix time), and the generation of its issuer's keys."""

    caller: str
    until: float
    keys: KeySet
    generation: int


class SignedTokens:
    """Which caller a token of these issuers identifies. ``what`` begins messages: "the Kubernetes token".

    ``caller_of`` gets verified claims. A verified token is remembered by its digest until it expires or its key is
    withdrawn, so that each further request costs one look-up.
    """

    def __init__(self, what: str, issuers: Iterable[IssuerSettings], keys: KeySets, caller_of: CallerOf) -> None:
        self._what: Final = what
        self._issuers: Final = {issuer.issuer: (issuer, keys[issuer.issuer]) for issuer in issuers}
        self._caller_of: Final = caller_of
        self._verified: Final[Recent[bytes, _Verified]] = Recent(_MOST_VERIFIED)

    def verify(self, shown: Credentials) -> Outcome:
        """The caller of a token; None if it is not a signed token of these issuers."""
        known = self._verified.get(shown.digest)
        if known is not None and shown.now < known.until and known.generation == known.keys.generation:
            return known.caller
        if not _SIGNED.fullmatch(shown.token):
            return None
        found = self._issuers.get(signatures.unverified_issuer(shown.token) or "")
        if found is None:
            return None
        outcome = self._judge(shown, *found)
        return (
            Rejected(f"{self._what} {outcome.why}", outcome.expired, outcome.unavailable)
            if isinstance(outcome, Rejected)
            else outcome
        )

    def _judge(self, shown: Credentials, issuer: IssuerSettings, keys: KeySet) -> Outcome:
        try:
            kid = signatures.key_id(shown.token)
            key = keys.get(kid)
            if key is None:
                return Waiting(keys) if keys.may_ask else _unknown_key(keys)
            claims = signatures.verified(shown.token, key)
        except signatures.BadToken as why:
            return Rejected(f"is not accepted: {why}")
        until = valid_until(claims, issuer, shown.now)
        if isinstance(until, Rejected):
            return until
        caller = self._caller_of(issuer, claims)
        if isinstance(caller, str):
            self._verified.put(shown.digest, _Verified(caller, until, keys, keys.generation))
        return caller


def _unknown_key(keys: KeySet) -> Rejected:
    if keys.fault:
        return Rejected("cannot be verified: the keys of its issuer cannot be fetched", unavailable=True)
    return Rejected("is not accepted: the issuer has no key with this `kid`")


def valid_until(claims: Mapping[str, Any], issuer: IssuerSettings, now: float) -> float | Rejected:
    """The Unix time until which verified claims are good here: issuer, audience and times (RFC 7519 section 4.1)."""
    if claims.get("iss") != issuer.issuer:
        return Rejected(f"is not accepted: its issuer is not that of `{issuer.name}`")
    audiences = claims.get("aud")
    if issuer.audience not in (audiences if isinstance(audiences, list) else [audiences]):
        return Rejected(f"is not accepted: its audience is not `{issuer.audience}`")
    expires = _time(claims, "exp")
    if expires is None:
        return Rejected("is not accepted: it has no `exp` that is a time")
    until = expires + LEEWAY
    if now >= until:
        return Rejected("is not accepted: it has expired", expired=True)
    if "nbf" in claims:
        begins = _time(claims, "nbf")
        if begins is None:
            return Rejected("is not accepted: it has no `nbf` that is a time")
        if now < begins - LEEWAY:
            return Rejected("is not accepted: it is not valid yet")
    return until


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return float(value)
