"""Client certificates of workloads, by their SPIFFE ids."""

from typing import Final

from gateway.callers.certificate import SPIFFE_ID
from gateway.callers.kind import (
    Available,
    CredentialKind,
    Credentials,
    Entries,
    KeySets,
    Outcome,
    Reading,
    Rejected,
    SettingOf,
    Verify,
)
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Text

_SPIFFE: Final = Text(
    "a SPIFFE id such as spiffe://cluster.local/ns/billing/sa/billing-api",
    f"^(?=.{{1,2048}}$){SPIFFE_ID}$",
    parse=str,
)
_TRUST_DOMAIN: Final = Text("a trust domain such as cluster.local", r"^[a-z0-9._-]{1,255}$", parse=str)


def _check(domain: str, reading: Reading) -> str:
    if not reading.client_ca:
        reading.document.report(("callers", "trusted_spiffe_domain"), "proves nobody without `tls.client_ca`")
    return domain


def _missing(available: Available) -> str:
    if "spiffe" in available.settings:
        return ""
    return "proves nobody while gateway.yaml has no `callers.trusted_spiffe_domain` and `tls.client_ca`"


def _fault(spiffe_id: str, available: Available) -> str:
    domain = available.settings.get("spiffe")
    if domain is None or spiffe_id.split("/")[2] == domain:
        return ""
    return f"is not of the trust domain `{domain}`, which alone is trusted"


def _verifier(entries: Entries, domain: str | None, _keys: KeySets) -> Verify:
    trusted = f"spiffe://{domain}/"

    def verify(shown: Credentials) -> Outcome:
        certificate = shown.certificate
        if certificate is None:
            return None
        spiffe_id = certificate.spiffe_id
        if spiffe_id is None:
            return Rejected(f"the client certificate {certificate.fault}")
        if domain is None or not spiffe_id.startswith(trusted):
            return Rejected("the client certificate is not of the trusted SPIFFE domain")
        # TLS looked at the dates when the connection began, which may be days ago.
        if shown.now > certificate.not_after:
            return Rejected("the client certificate has expired since the connection began", expired=True)
        return entries.get(spiffe_id) or Rejected(
            f"the client certificate is valid, but no policy lists its SPIFFE id {spiffe_id}"
        )

    return verify


KIND: Final = CredentialKind(
    name="spiffe",
    value=Many(_SPIFFE, "SPIFFE ids"),
    description="SPIFFE ids of client certificates; needs `callers.trusted_spiffe_domain` in gateway.yaml.",
    noun="a SPIFFE id",
    advice="a client certificate with its SPIFFE id, in the TLS handshake",
    # RFC 9110 section 15.5.2 wants a challenge in each 401. No scheme for certificates is registered.
    challenge="Certificate",
    verifier=_verifier,
    missing=_missing,
    fault=_fault,
    setting=SettingOf(
        "trusted_spiffe_domain",
        _TRUST_DOMAIN,
        "Trust domain of the SPIFFE ids in client certificates; needs `tls.client_ca`.",
        _check,
    ),
)
