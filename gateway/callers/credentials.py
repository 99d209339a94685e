"""Callers known by a bearer token, or by nothing at all."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Final

from gateway.config.snapshot import Callers
from gateway.core.refusal import Code, Reason, Refused

# RFC 9110 section 11.1: the scheme is case-insensitive. RFC 6750 section 2.1: one space and a b64token.
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/=-]{1,4096})")
_CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="productlane-gateway"')

# So that a secret scanner can find a token that has leaked.
_PREFIX: Final = "plgw_"
_UPSTREAM_KEY: Final = re.compile(r"\bpl_(v[12])_")


def new_token() -> tuple[str, str]:
    """A fresh token with 256 bits of chance, and the ``sha256:`` line that a policy holds in its place."""
    token = _PREFIX + secrets.token_urlsafe(32)
    return token, f"sha256:{digest(token).hex()}"


def digest(token: str) -> bytes:
    """SHA-256 of a token. Tokens are random, so a plain digest is as strong as a slow one and can be looked up."""
    return hashlib.sha256(token.encode()).digest()


def identify(authorization: Sequence[str], callers: Callers) -> str:
    """The name of the caller that these ``Authorization`` values prove.

    A digest is looked up, so no comparison runs along the token's text. Raises `Refused`: ``unauthenticated`` where
    there is none, or an unknown one, and nobody is anonymous; ``invalid_request`` for several;
    ``unsupported_key_version`` for a v1 key.
    """
    if len(authorization) > 1:
        raise Refused(
            Code.INVALID_REQUEST,
            Reason.CREDENTIAL_AMBIGUOUS,
            "The request carries more than one Authorization field.",
        )
    bearer = _BEARER.fullmatch(authorization[0]) if authorization else None
    token = bearer[1] if bearer else ""
    if token.startswith("pl_v1_"):
        raise Refused(
            Code.UNSUPPORTED_KEY_VERSION,
            Reason.KEY_VERSION,
            "Keys of version 1 (pl_v1_…) do not work with version 2 of the Productlane API.",
            note="the caller sends a v1 key; callers of this gateway use its own token, or none where one is anonymous",
        )
    name = callers.tokens.get(digest(token)) if token else None
    if name is not None:
        return name
    if callers.anonymous is not None and (not authorization or not callers.authenticated):
        return callers.anonymous
    if not authorization:
        raise Refused(
            Code.UNAUTHENTICATED,
            Reason.CREDENTIAL_MISSING,
            "This gateway needs a token: send `Authorization: Bearer …`.",
            headers=(_CHALLENGE,),
        )
    raise Refused(
        Code.UNAUTHENTICATED,
        Reason.CREDENTIAL_UNKNOWN,
        "The credential is not known to this gateway.",
        note=(
            "the caller sends an upstream key; give it a token of `productlane-gateway token` instead"
            if supplied_key(authorization)
            else "no policy's `authenticate` lists this credential; its digest is made by `productlane-gateway token`"
        ),
        headers=(_CHALLENGE,),
    )


def supplied_key(authorization: Sequence[str]) -> str | None:
    """``v1`` or ``v2`` where a caller sends an upstream key of its own, which it should not hold."""
    found = (_UPSTREAM_KEY.search(value) for value in authorization)
    return next((match[1] for match in found if match), None)
