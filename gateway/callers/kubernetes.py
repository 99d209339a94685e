"""Tokens of Kubernetes service accounts, verified without asking the API server about each."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from gateway.callers.issuer_settings import IssuerSection, IssuerSettings, check_issuer, host_of
from gateway.callers.kind import Available, CredentialKind, Entries, KeySets, Reading, Rejected, SettingOf, Verify
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Text
from gateway.config.reading.section import Record, setting

# Where Kubernetes mounts the CA of its API server and the pod's own token.
MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# Names of namespaces and service accounts (RFC 1123 label and subdomain), as Kubernetes has them.
_NAMESPACE: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ACCOUNT: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_SUBJECT: Final = re.compile(rf"system:serviceaccount:({_NAMESPACE}):({_ACCOUNT})")

_SERVICE_ACCOUNT: Final = Text(
    "namespace/serviceaccount such as billing/billing-api", f"^{_NAMESPACE}/{_ACCOUNT}$", parse=str
)
_DOMAIN: Final = Text("a DNS domain such as cluster.local", r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$", parse=str)


class Kubernetes(IssuerSection):
    """The cluster whose service accounts are callers."""

    cluster_domain: str = setting(
        _DOMAIN,
        "The cluster's DNS domain. Only to an issuer at `kubernetes.default.svc`, with this domain or without, does "
        "the gateway show its own service-account token.",
        default="cluster.local",
    )


def _check(section: Kubernetes, reading: Reading) -> tuple[IssuerSettings, ...]:
    issuer = check_issuer("kubernetes", section, ("callers", "kubernetes"), reading)
    if issuer.jwks is None and is_api_server(host_of(section.issuer), section.cluster_domain):
        issuer = replace(issuer, ca=issuer.ca or MOUNTED / "ca.crt", token=MOUNTED / "token")
    return (issuer,)


def is_api_server(host: str | None, cluster_domain: str) -> bool:
    """Whether a host is the API server's own name in its cluster: only there may the gateway's own token go."""
    return host in ("kubernetes.default.svc", f"kubernetes.default.svc.{cluster_domain}")


def _missing(available: Available) -> str:
    return "" if "kubernetes" in available.settings else "proves nobody while gateway.yaml has no `callers.kubernetes`"


def _verifier(entries: Entries, issuers: tuple[IssuerSettings, ...] | None, keys: KeySets) -> Verify:
    # PyJWT and cryptography: 50 ms and 9 MB that only signed tokens need.
    from gateway.callers.signed_tokens import SignedTokens

    def caller_of(_issuer: IssuerSettings, claims: Mapping[str, Any]) -> str | Rejected:
        account = account_of(claims)
        if isinstance(account, Rejected):
            return account
        return entries.get(account) or Rejected(f"is valid, but no policy lists its service account {account}")

    return SignedTokens("the Kubernetes token", issuers or (), keys, caller_of).verify


def account_of(claims: Mapping[str, Any]) -> str | Rejected:
    """The account, ``namespace/name``, of claims whose signature, issuer, audience and times are verified.

    The subject's form and the ``kubernetes.io`` claim are those of the TokenRequest API.
    """
    subject = claims.get("sub")
    found = _SUBJECT.fullmatch(subject) if isinstance(subject, str) else None
    if found is None:
        return Rejected("is not accepted: its subject is not a service account")
    namespace, name = found.groups()
    if "kubernetes.io" in claims and not _agrees(claims["kubernetes.io"], namespace, name):
        return Rejected("is not accepted: its subject and its `kubernetes.io` claim differ")
    return f"{namespace}/{name}"


def _agrees(claim: object, namespace: str, name: str) -> bool:
    account = claim.get("serviceaccount") if isinstance(claim, dict) else None
    if not isinstance(claim, dict) or not isinstance(account, dict):
        return False
    return bool(claim.get("namespace") == namespace and account.get("name") == name)


KIND: Final = CredentialKind(
    name="kubernetes",
    value=Many(_SERVICE_ACCOUNT, "service accounts"),
    description="Kubernetes service accounts, `namespace/name`; needs `callers.kubernetes` in gateway.yaml.",
    noun="a service account",
    advice="a token of its Kubernetes service account, as `Authorization: Bearer <token>`",
    challenge="Bearer",
    verifier=_verifier,
    missing=_missing,
    setting=SettingOf("kubernetes", Record(Kubernetes), "Tokens of Kubernetes service accounts.", _check),
)
