"""When a certificate is valid, read from its file without a library: `cryptography` would cost 20 ms and 9 MB."""

import ssl
from datetime import UTC, datetime
from typing import Final

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def validity(pem: str) -> tuple[float, float]:
    """The Unix times from and until which the first certificate of a PEM file is valid. Raises `ValueError`.

    RFC 5280 section 4.1: a certificate is a sequence that begins with another one, whose parts are the version (which
    may be missing), a serial number, an algorithm, the issuer and the validity: two times.
    """
    start, end = pem.find(_BEGIN), pem.find(_END)
    if start < 0 or end < start:
        raise ValueError("the file holds no certificate")
    try:
        at = _inside(der := ssl.PEM_cert_to_DER_cert(pem[start : end + len(_END)] + "\n"), 0)
        at = _inside(der, at)
        if der[at] == _VERSION:
            at = _after(der, at)
        for _ in ("serial number", "algorithm", "issuer"):
            at = _after(der, at)
        at = _inside(der, at)
        return _time(der, at), _time(der, _after(der, at))
    except IndexError:
        raise ValueError("the certificate is cut short") from None


def _time(der: bytes, at: int) -> float:
    text = der[_inside(der, at) : _after(der, at)].decode("ascii")
    # RFC 5280 section 4.1.2.5: UTCTime up to 2049, with two digits of the year; 50 and above are of 19xx.
    if der[at] == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _head(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of an element begins, and its length (X.690 section 8.1.3)."""
    length = der[at + 1]
    if length < 0x80:
        return at + 2, length
    octets = length & 0x7F
    return at + 2 + octets, int.from_bytes(der[at + 2 : at + 2 + octets])


def _inside(der: bytes, at: int) -> int:
    return _head(der, at)[0]


def _after(der: bytes, at: int) -> int:
    start, length = _head(der, at)
    return start + length
