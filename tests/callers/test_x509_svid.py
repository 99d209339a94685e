"""`gateway.callers.x509_svid`: which certificates name a workload, by the rules of SPIFFE."""

import pytest

from gateway.callers.x509_svid import read_certificate
from tests.support.certs import ID, Authority, Identity

AUTHORITY = Authority()
NONE = "holds no SPIFFE id"
TWO = "holds more than one URI"
WRONG = "holds a URI that is not a workload's SPIFFE id"
SIGNS = "is that of an authority and not of a workload"


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (AUTHORITY.issue(ID), ID),
        (AUTHORITY.issue(ID, dns=["billing.test"]), ID),
        (AUTHORITY.issue(ID, ca=None), ID),
        (AUTHORITY.issue(ID, ca=None, bare=True), ID),
        (AUTHORITY.issue(ID, eku=False), ID),
        (AUTHORITY.issue("spiffe://x_y.z-1/A_b.c-9"), "spiffe://x_y.z-1/A_b.c-9"),
        (AUTHORITY.issue("spiffe://cluster.local/..."), "spiffe://cluster.local/..."),
        (AUTHORITY.issue("spiffe://cluster.local/" + "a" * 2025), "spiffe://cluster.local/" + "a" * 2025),
        (AUTHORITY.issue("spiffe://cluster.local/" + "a" * 2026), WRONG),
        (AUTHORITY.issue(), NONE),
        (AUTHORITY.issue(dns=["billing.test"]), NONE),
        (AUTHORITY.issue(dns=[ID]), NONE),
        (AUTHORITY.issue(ID, ID), TWO),
        (AUTHORITY.issue(ID, "https://billing.test"), TWO),
        (AUTHORITY.issue("https://cluster.local/ns/billing"), WRONG),
        (AUTHORITY.issue("SPIFFE://cluster.local/x"), WRONG),
        (AUTHORITY.issue("spiffe://Cluster.local/x"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local/"), WRONG),
        (AUTHORITY.issue("spiffe:///x"), WRONG),
        (AUTHORITY.issue("spiffe:cluster.local/x"), WRONG),
        (AUTHORITY.issue(ID + "/"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local//x"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local/./x"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local/a/../b"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local/a/.."), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local/%61"), WRONG),
        (AUTHORITY.issue("spiffe://cluster.local:443/x"), WRONG),
        (AUTHORITY.issue("spiffe://user@cluster.local/x"), WRONG),
        (AUTHORITY.issue(ID + "?x"), WRONG),
        (AUTHORITY.issue(ID + "#x"), WRONG),
        (AUTHORITY.issue(ID + "\n"), WRONG),
        (AUTHORITY.issue(ID + "\0.evil"), WRONG),
        (AUTHORITY.issue(ID, ca=True), SIGNS),
        (AUTHORITY.issue(ID, signs=True), SIGNS),
        (AUTHORITY.issue(ID, crl=True), SIGNS),
    ],
)
def test_a_certificate_names_one_workload_or_none(identity: Identity, expected: str) -> None:
    """Exactly one URI, which is a workload's SPIFFE id, in the certificate of a leaf (X509-SVID section 5.2)."""
    found = read_certificate(identity.der)

    assert expected == (found.spiffe_id or found.fault)
    assert identity.certificate.not_valid_after_utc.timestamp() == found.not_after


@pytest.mark.parametrize("data", [b"", b"\x30\x00", AUTHORITY.issue(ID).der[:-1], b"x" * 1000])
def test_what_is_no_certificate_names_nobody(data: bytes) -> None:
    """Unreadable bytes crash nothing and identify no caller."""
    found = read_certificate(data)

    assert (None, "cannot be read") == (found.spiffe_id, found.fault)


def test_a_damaged_name_names_nobody() -> None:
    """A certificate whose names are encoded wrongly counts as unreadable."""
    whole = AUTHORITY.issue(ID).der
    found = read_certificate(whole.replace(b"spiffe://", b"sp\xffffe://"))

    assert (None, "cannot be read") == (found.spiffe_id, found.fault)
