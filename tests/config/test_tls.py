"""The TLS contexts: what they verify, and how unusable files are reported."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gateway.config.schema.gateway import Tls
from gateway.config.tls import BadTls, listener_context
from gateway.net.client_tls import issuer_context, upstream_context
from tests.support.certs import write_listener


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    """A certificate, its key and a CA."""
    certificate = write_listener(tmp_path)
    trustme.CA().issue_cert("gateway.test").private_key_pem.write_to_path(str(tmp_path / "other.key"))
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    (tmp_path / "text.pem").write_text("nothing of the kind\n")
    return Tls(certificate=tmp_path / "tls.crt", private_key=tmp_path / "tls.key", client_ca=tmp_path / "ca.crt")


def test_a_listener_asks_for_certificates_where_it_can_verify_them(files: Tls) -> None:
    """With a client CA callers may present certificates, and need not; without one they are not asked."""
    with_ca, without = listener_context(files), listener_context(files.replaced(client_ca=None))

    assert (ssl.CERT_OPTIONAL, ssl.CERT_NONE) == (with_ca.verify_mode, without.verify_mode)
    assert ssl.TLSVersion.TLSv1_2 == with_ca.minimum_version == without.minimum_version
    assert 0 == with_ca.num_tickets
    assert 1 == with_ca.cert_store_stats()["x509_ca"]


@pytest.mark.parametrize(
    ("setting", "name", "expected"),
    [
        ("certificate", "nothing", "cannot be read: No such file or directory"),
        ("private_key", "nothing", "cannot be read: No such file or directory"),
        ("client_ca", "nothing", "cannot be read: No such file or directory"),
        ("certificate", ".", "cannot be read: Is a directory"),
        ("certificate", "text.pem", "holds no certificates in PEM"),
        ("client_ca", "text.pem", "holds no certificates in PEM"),
        ("private_key", "text.pem", "holds no private key in PEM"),
        ("private_key", "tls.crt", "holds no private key in PEM"),
        ("private_key", "other.key", "is not the key of the certificate in `tls.certificate`"),
        ("private_key", "locked.key", "is encrypted; give the key in clear"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(files: Tls, setting: str, name: str, expected: str) -> None:
    """A fault of the listener's files is reported before it listens, by its setting."""
    path = files.certificate.parent / name
    with pytest.raises(BadTls) as caught:
        listener_context(files.replaced(**{setting: path}))

    assert setting == caught.value.setting
    assert str(caught.value).endswith(f" {expected}")


@pytest.mark.parametrize("make", [upstream_context, issuer_context], ids=["upstream", "issuer"])
def test_a_client_verifies(make: Callable[[Path | None], ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and certificates are always verified, and no session key is written out."""
    monkeypatch.setenv("SSLKEYLOGFILE", "/dev/null")
    context = make(None)

    assert ssl.CERT_REQUIRED == context.verify_mode
    assert context.check_hostname
    assert ssl.TLSVersion.TLSv1_2 == context.minimum_version
    assert context.keylog_filename is None


def test_an_issuers_ca_is_the_only_one(files: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA given for Productlane is one more; one given for the issuer is the one."""
    system = Path(files.certificate.parent, "system.crt")
    trustme.CA().cert_pem.write_to_path(str(system))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    monkeypatch.setenv("SSL_CERT_DIR", str(files.certificate.parent / "none"))

    assert 2 == upstream_context(files.client_ca).cert_store_stats()["x509_ca"]
    assert 1 == issuer_context(files.client_ca).cert_store_stats()["x509_ca"]
    assert 1 == issuer_context(None).cert_store_stats()["x509_ca"]
