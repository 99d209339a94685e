"""The settings that say how callers prove who they are, beyond the tokens in policies."""

from pathlib import Path

from gateway.config.reading.kinds import Text
from gateway.config.reading.section import Record, Section, setting
from gateway.config.schema.kinds import FILE, JWKS, TRUST_DOMAIN


class Kubernetes(Section):
    """Service-account tokens as proof of who calls."""

    issuer: str = setting(
        Text(
            "the issuer's URL such as https://kubernetes.default.svc",
            r"^https://[A-Za-z0-9\[][^\s?#@\\]*$",
            parse=str,
        ),
        "The cluster's issuer, as the `iss` of its tokens has it.",
    )
    audience: str = setting(
        Text("text", parse=str),
        "Audience that the tokens have to be for, as the `serviceAccountToken` volume names it.",
    )
    jwks: Path | None = setting(
        JWKS,
        "`file:/path` of the issuer's keys (JWKS). Without it they are discovered at the issuer.",
        default=None,
    )
    ca: Path | None = setting(
        FILE,
        "Certificates to trust for the issuer, instead of the system's, PEM. For an issuer inside the cluster the "
        "default is the CA that Kubernetes mounts into every pod.",
        default=None,
    )


class Callers(Section):
    """How callers prove who they are, beyond the tokens in policies."""

    kubernetes: Kubernetes | None = setting(Record(Kubernetes), "Tokens of Kubernetes service accounts.", default=None)
    trusted_spiffe_domain: str | None = setting(
        TRUST_DOMAIN,
        "Trust domain of the SPIFFE ids in client certificates; needs `tls.client_ca`.",
        default=None,
    )
