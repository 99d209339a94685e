"""`gateway.net.certificates`: when a certificate ends."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509

from gateway.net.certificates import validity


@pytest.mark.parametrize("year", [2031, 2049, 2050, 2120])
def test_the_end_of_a_certificate_is_read(year: int) -> None:
    """The time is the certificate's own, in either of the two ways in which X.509 writes a year."""
    end = datetime(year, 5, 6, 7, 8, 9, tzinfo=UTC)
    pem = trustme.CA().issue_cert("gateway.test", not_after=end).cert_chain_pems[0].bytes()
    read = x509.load_pem_x509_certificate(pem)

    assert (read.not_valid_before_utc.timestamp(), end.timestamp()) == validity(pem.decode())


def test_the_first_of_a_chain_counts() -> None:
    """In a chain file the first certificate is the one that callers see; any text before it is skipped."""
    authority = trustme.CA()
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    chain = "".join(one.bytes().decode() for one in authority.issue_cert("a.test", not_after=end).cert_chain_pems)

    assert end.timestamp() == validity(f"a comment\n{chain}{authority.cert_pem.bytes().decode()}")[1]


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----"],
)
def test_what_is_no_certificate_is_an_error(text: str) -> None:
    """A file without a certificate has no expiry, and the reason is given."""
    with pytest.raises(ValueError, match="certificate"):
        validity(text)
