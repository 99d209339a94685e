"""Certificates as a SPIFFE authority issues them, and as it must not."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ID = "spiffe://cluster.local/ns/billing/sa/billing-api"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(signs: bool, crl: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=crl,
        encipher_only=False,
        decipher_only=False,
    )


def write_listener(folder: Path, ca: str = "ca.crt") -> trustme.LeafCert:
    """Write what a listener needs: ``tls.crt``, ``tls.key``, and the certificate of their authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / ca))
    certificate = authority.issue_cert("gateway.test")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "tls.key"))
    return certificate


@dataclass
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write certificate and key; gives their paths."""
        folder.mkdir(exist_ok=True)
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return certificate, key


class Authority:
    """An authority of workloads. ``at`` is a certificate's first moment; it lasts ``lasts`` seconds."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        self.certificate = self._build("authority", self.key, now - datetime.timedelta(hours=1), 86_400, [
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (_usage(True, True), True),
        ])  # fmt: skip

    def _build(
        self, name: str, key: Any, start: datetime.datetime, lasts: float, extensions: Sequence[tuple[Any, bool]]
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(seconds=lasts))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def issue(
        self,
        *uris: str,
        dns: Sequence[str] = (),
        ca: bool | None = False,
        signs: bool = False,
        crl: bool = False,
        eku: bool = True,
        client: bool = True,
        bare: bool = False,
        start: datetime.datetime | None = None,
        lasts: float = 7200,
    ) -> Identity:
        """A certificate with these URIs and names; ``bare`` leaves out every extension."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns)]
        extensions: list[tuple[Any, bool]] = []
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        if ca is not None:
            extensions.append((x509.BasicConstraints(ca=ca, path_length=None), True))
        if not bare:
            extensions.append((_usage(signs, crl), True))
        if eku and not bare:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
            extensions.append((x509.ExtendedKeyUsage(usages), False))
        start = start or datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
        return Identity(self._build("workload", key, start, lasts, extensions), key)

    def write(self, path: Path) -> Path:
        """Write the authority's own certificate."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path
