"""The SPIFFE id in a certificate, by the rules of SPIFFE's X509-SVID document.

Imported where client certificates are asked for: 20 ms and 8 MB.
"""

import re
from typing import Final

from cryptography import x509

from gateway.callers.certificate import SPIFFE_ID, Certificate

_ID: Final = re.compile(rf"(?=.{{1,2048}}\Z){SPIFFE_ID}")
# What cryptography raises for names and extensions that break their own rules.
_MALFORMED: Final = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


def read_certificate(der: bytes) -> Certificate:
    """The facts of a certificate in DER whose chain and dates TLS has verified. Never raises."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        not_after = certificate.not_valid_after_utc.timestamp()
        spiffe_id, fault = _spiffe_id(certificate.extensions)
    except _MALFORMED:
        return Certificate(None, "cannot be read", 0.0)
    return Certificate(spiffe_id, fault, not_after)


def _spiffe_id(extensions: x509.Extensions) -> tuple[str | None, str]:
    """The id, or why there is none. X509-SVID section 5.2: a leaf with exactly one URI, which is a workload's id."""
    if _is_authority(extensions):
        return None, "is that of an authority and not of a workload"
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None, "holds no SPIFFE id"
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        return None, "holds no SPIFFE id" if not uris else "holds more than one URI"
    if not _ID.fullmatch(uris[0]):
        return None, "holds a URI that is not a workload's SPIFFE id"
    return uris[0], ""


def _is_authority(extensions: x509.Extensions) -> bool:
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return usage.key_cert_sign or usage.crl_sign
