"""TLS that the gateway speaks as a client: to Productlane, and to the issuers of callers' tokens.

No context here is made by `ssl.create_default_context`, which would write session keys to ``SSLKEYLOGFILE``.
"""

import ssl
from pathlib import Path


def upstream_context(ca: Path | None) -> ssl.SSLContext:
    """For Productlane: certificates and names are verified, TLS 1.2 is the least.

    ``ca`` is added to the system's certificates. Raises OSError (`ssl.SSLError` among them) where it cannot be read.
    """
    context = _client()
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if ca is not None:
        context.load_verify_locations(cafile=ca)
    return context


def issuer_context(ca: Path | None) -> ssl.SSLContext:
    """For an issuer of callers' tokens: the same, but ``ca`` is trusted in place of the system's certificates.

    Otherwise any authority that the system trusts could say who callers are.
    """
    context = _client()
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca)
    return context


def fault_of_certificates(path: Path) -> str:
    """Why a file cannot be a ``ca``, in words that follow its name; empty where it can."""
    try:
        _client().load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no certificates in PEM"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
