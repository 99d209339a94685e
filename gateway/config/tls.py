"""The TLS that the gateway speaks as a client, to Productlane and to nobody else."""

import ssl
from pathlib import Path


def upstream_context(ca: Path | None) -> ssl.SSLContext:
    """Certificates and names are verified, TLS 1.2 is the least, and ``SSLKEYLOGFILE`` is not honoured.

    `ssl.create_default_context` would write session keys to that file. ``ca`` is added to the system's certificates.
    Raises OSError (`ssl.SSLError` among them) where ``ca`` cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if ca is not None:
        context.load_verify_locations(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context
