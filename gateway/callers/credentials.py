"""Which caller a request is of: the first proof that holds, in the order certificate, token, Kubernetes, unix user.

A proof that fails does not spoil a later one that holds. Where none holds, a request that showed a credential is
refused once any policy authenticates; anonymous is who showed none.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gateway.callers.peers import STRANGER, Certificate, Peer
from gateway.callers.proof import Unproven
from gateway.callers.tokens import digest
from gateway.config.assembly.snapshot import Callers
from gateway.core.refusal import Code, Reason, Refused

if TYPE_CHECKING:
    from gateway.callers.kubernetes import ServiceAccounts

# RFC 9110 section 11.1: the scheme is case-insensitive. RFC 6750 section 2.1: one space and a b64token. Tokens of
# service accounts have about 1,000 characters, with long names and large keys 2,500.
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/=-]{1,4096})")
# RFC 7515 section 3.1: three parts in base64url.
_SIGNED: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="productlane-gateway"')
_UPSTREAM_KEY: Final = re.compile(r"\bpl_(v[12])_")


async def identify(
    authorization: Sequence[str],
    callers: Callers,
    peer: Peer = STRANGER,
    accounts: "ServiceAccounts | None" = None,
    *,
    now: float,
) -> str:
    """The name of the caller that a request's ``Authorization`` values and its connection prove.

    ``now`` is Unix time in seconds. It waits only where a token's key has to be asked for. Raises `Refused`:
    ``unauthenticated`` where nothing proves a caller and nobody is anonymous; ``invalid_request`` for several values;
    ``unsupported_key_version`` for a v1 key.
    """
    token = _bearer(authorization)
    failed: list[Unproven] = []
    name = _by_certificate(peer.certificate, callers, now, failed)
    if name is None and token:
        known = digest(token)
        name = callers.tokens.get(known)
        if name is None and callers.kubernetes and accounts is not None:
            name = await _by_account(token, known, callers, accounts, failed)
    if name is None and peer.uid is not None:
        name = callers.unix_uids.get(peer.uid)
    if name is not None:
        return name
    shown = bool(authorization) or peer.certificate is not None
    if callers.anonymous is not None and not (shown and callers.authenticated):
        return callers.anonymous
    raise _unauthenticated(authorization, shown, failed)


def supplied_key(authorization: Sequence[str]) -> str | None:
    """``v1`` or ``v2`` where a caller sends an upstream key of its own, which it should not hold."""
    for value in authorization:
        if "pl_v" in value and (found := _UPSTREAM_KEY.search(value)):
            return found[1]
    return None


def _bearer(authorization: Sequence[str]) -> str:
    """The token, or nothing where there is none that could be one."""
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
    return token


def _by_certificate(
    certificate: Certificate | None, callers: Callers, now: float, failed: list[Unproven]
) -> str | None:
    if certificate is None:
        return None
    try:
        return _named_by(certificate, callers, now)
    except Unproven as why:
        failed.append(Unproven(f"the client certificate {why}", expired=why.expired))
        return None


def _named_by(certificate: Certificate, callers: Callers, now: float) -> str:
    spiffe_id, domain = certificate.spiffe_id, callers.trusted_spiffe_domain
    if spiffe_id is None:
        raise Unproven(certificate.fault)
    if domain is None or not spiffe_id.startswith(f"spiffe://{domain}/"):
        raise Unproven("is not of the trusted SPIFFE domain")
    # TLS looked at the dates when the connection began, which may be days ago.
    if now > certificate.not_after:
        raise Unproven("has expired since the connection began", expired=True)
    name = callers.spiffe.get(spiffe_id)
    if name is None:
        raise Unproven("is good, but no policy lists its SPIFFE id")
    return name


async def _by_account(
    token: str, known: bytes, callers: Callers, accounts: "ServiceAccounts", failed: list[Unproven]
) -> str | None:
    account = accounts.known(known)
    if account is None and not _SIGNED.fullmatch(token):
        return None
    try:
        account = account or await accounts.prove(token, known)
    except Unproven as why:
        failed.append(Unproven(f"the Kubernetes token is not accepted: {why}", expired=why.expired))
        return None
    name = callers.kubernetes.get(account)
    if name is None:
        failed.append(Unproven("the Kubernetes token is good, but no policy lists its service account"))
    return name


def _unauthenticated(authorization: Sequence[str], shown: bool, failed: Sequence[Unproven]) -> Refused:
    if not shown:
        return Refused(
            Code.UNAUTHENTICATED,
            Reason.CREDENTIAL_MISSING,
            "This gateway needs a token: send `Authorization: Bearer …`.",
            headers=(_CHALLENGE,),
        )
    note = "; ".join(map(str, failed))
    if supplied_key(authorization):
        note = "the caller sends an upstream key; give it a token of `productlane-gateway token` instead"
    elif not note:
        note = "no policy's `authenticate` lists this credential; its digest is made by `productlane-gateway token`"
    if any(why.expired for why in failed):
        return Refused(
            Code.UNAUTHENTICATED,
            Reason.CREDENTIAL_EXPIRED,
            "The credential has expired.",
            note=note,
            headers=(_CHALLENGE,),
        )
    return Refused(
        Code.UNAUTHENTICATED,
        Reason.CREDENTIAL_UNKNOWN,
        "The credential is not known to this gateway.",
        note=note,
        headers=(_CHALLENGE,),
    )
