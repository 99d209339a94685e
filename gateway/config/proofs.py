"""How a policy's caller is known: each proof is one caller's alone, and must be one that can be given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema import policy

# What a kernel shows in place of a user id of another user namespace that has no counterpart here (user_namespaces(7)),
# so it can be anybody.
_OVERFLOW_UID: Final = 65_534
_WORDS: Final = {
    "tokens": "a token",
    "kubernetes": "a service account",
    "spiffe": "a SPIFFE id",
    "unix_uids": "a user id",
}
Claims: TypeAlias = dict[tuple[str, object], str]


@dataclass(frozen=True, slots=True)
class Means:
    """What lets callers prove themselves beside tokens, as a ``gateway.yaml`` has it.

    ``trust_domain`` is None where client certificates are not asked for.
    """

    kubernetes: bool
    trust_domain: str | None
    unix_socket: bool


def check_proofs(entry: policy.Policy, document: Document, claims: Claims, means: Means | None) -> None:
    """Report proofs that are named twice, are another caller's, or that nobody could give.

    ``claims`` are those of the policies before this one, and take up its own. ``means`` is None where only the policies
    are known.
    """
    proofs = dict(_proofs(entry.authenticate))
    if document.sound(("authenticate",)) and not any(proofs.values()) and not entry.authenticate.anonymous:
        document.report(
            ("authenticate",),
            "nobody can be this caller; add `tokens: [sha256:…]`, made by `productlane-gateway token`, "
            "or `anonymous: true`",
        )
    for kind, values in proofs.items():
        for place, value in zip(document.places("authenticate", kind), values, strict=False):
            if (other := claims.setdefault((kind, value), entry.caller)) != entry.caller:
                document.report(("authenticate", kind, place), f"is {_WORDS[kind]} of caller {shown(other)} too")
    if means is not None:
        _check_means(entry.authenticate, document, means)
    for place, uid in zip(document.places("authenticate", "unix_uids"), entry.authenticate.unix_uids, strict=False):
        if uid == _OVERFLOW_UID:
            message = f"{uid} is what the kernel shows for every user that it does not know here, so it proves nobody"
            document.report(("authenticate", "unix_uids", place), message)


def _proofs(entry: policy.Authenticate) -> Iterator[tuple[str, Sequence[object]]]:
    yield "tokens", entry.tokens
    yield "kubernetes", entry.kubernetes
    yield "spiffe", entry.spiffe
    yield "unix_uids", entry.unix_uids


def _check_means(entry: policy.Authenticate, document: Document, means: Means) -> None:
    if entry.kubernetes and not means.kubernetes:
        document.report(("authenticate", "kubernetes"), "proves nobody while gateway.yaml has no `callers.kubernetes`")
    if entry.unix_uids and not means.unix_socket:
        document.report(("authenticate", "unix_uids"), "proves nobody while `listen` is not a unix socket")
    if entry.spiffe and means.trust_domain is None:
        message = "proves nobody while gateway.yaml has no `callers.trusted_spiffe_domain` and `tls.client_ca`"
        document.report(("authenticate", "spiffe"), message)
        return
    for place, spiffe_id in zip(document.places("authenticate", "spiffe"), entry.spiffe, strict=False):
        if spiffe_id.split("/")[2] != means.trust_domain:
            message = f"is not of the trust domain {shown(means.trust_domain or '')}, which alone is trusted"
            document.report(("authenticate", "spiffe", place), message)
