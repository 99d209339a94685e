"""The parts of ``gateway.yaml`` by which callers prove themselves: ``tls`` and ``callers``."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import UNSET

from gateway.config.assembly.snapshot import Issuer, Tls
from gateway.config.proofs import Means
from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema import gateway_file
from gateway.config.tls import BadTls, issuer_context, listener_context, unreadable
from gateway.net.listen_address import Address

# Where Kubernetes mounts the CA of its API server and the pod's own token.
_MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_API_SERVER: Final = "kubernetes.default.svc"
MAX_JWKS: Final = 256 * 1024

# What a relative path at a place of the document is relative to.
Base = Callable[..., Path]


def read_tls(file: gateway_file.Gateway, document: Document, base: Base, *, look: bool = True) -> Tls | None:
    """The listener's TLS, tried once; None where there is none. Where not to ``look``, its files are not opened."""
    if file.tls is UNSET:
        return None
    entry = file.tls
    tls = Tls(
        certificate=base("tls", "certificate") / entry.certificate,
        private_key=base("tls", "private_key") / entry.private_key,
        client_ca=None if entry.client_ca is UNSET else base("tls", "client_ca") / entry.client_ca,
    )
    problems = unreadable(tls) if look else []
    try:
        if look and not problems:
            listener_context(tls)
    except BadTls as fault:
        problems = [fault]
    for problem in problems:
        document.report(("tls", problem.setting), str(problem))
    if tls.client_ca is not None and document.sound(("callers",)) and file.callers.trusted_spiffe_domain is UNSET:
        document.report(("tls", "client_ca"), "proves nobody without `callers.trusted_spiffe_domain`")
    return tls


def proof_files(file: gateway_file.Gateway, base: Base) -> list[Path]:
    """The files that ``tls`` and ``callers`` name."""
    found = []
    if file.tls is not UNSET:
        for setting in ("certificate", "private_key", "client_ca"):
            name = getattr(file.tls, setting)
            found += [] if name is UNSET else [base("tls", setting) / name]
    if file.callers.kubernetes is not UNSET:
        for setting in ("jwks", "ca"):
            name = getattr(file.callers.kubernetes, setting)
            here = base("callers", "kubernetes", setting)
            found += [] if name is UNSET else [here / name.removeprefix("file:")]
    return found


def read_trust_domain(file: gateway_file.Gateway, document: Document) -> str | None:
    """The domain whose client certificates are believed; None where none are asked for."""
    if file.callers.trusted_spiffe_domain is UNSET:
        return None
    if document.sound(("tls",)) and (file.tls is UNSET or file.tls.client_ca is UNSET):
        document.report(("callers", "trusted_spiffe_domain"), "proves nobody without `tls.client_ca`")
    return file.callers.trusted_spiffe_domain


def read_issuer(file: gateway_file.Gateway, document: Document, base: Base, *, look: bool = True) -> Issuer | None:
    """Whose Kubernetes tokens are believed; None where nobody's are. Where not to ``look``, no file is opened."""
    if file.callers.kubernetes is UNSET:
        return None
    entry, here = file.callers.kubernetes, ("callers", "kubernetes")
    ca = None if entry.ca is UNSET else base(*here, "ca") / entry.ca
    if entry.jwks is not UNSET:
        jwks = base(*here, "jwks") / entry.jwks.removeprefix("file:")
        if look and (why := _fault_of_jwks(jwks)):
            document.report((*here, "jwks"), f"{shown(str(jwks))} {why}")
        if ca is not None:
            document.report((*here, "ca"), "is for an issuer that is asked, and `jwks` is a file")
        return Issuer(entry.issuer, entry.audience, jwks=jwks)
    try:
        parts = urlsplit(entry.issuer)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        document.report((*here, "issuer"), "the URL's host or port cannot be read")
        host = ""
    if ca is not None and look and (why := _fault_of_certificates(ca)):
        document.report((*here, "ca"), f"{shown(str(ca))} {why}")
    if not _is_api_server(host):
        return Issuer(entry.issuer, entry.audience, ca=ca)
    return Issuer(entry.issuer, entry.audience, ca=ca or _MOUNTED / "ca.crt", token=_MOUNTED / "token")


def _is_api_server(host: str) -> bool:
    """Whether a name is the API server's inside a cluster: only there may the gateway's own token go."""
    return host == _API_SERVER or host.startswith(f"{_API_SERVER}.")


def _fault_of_jwks(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(MAX_JWKS))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError):
        return "is not a JWKS document: it is not JSON"
    keys = document.get("keys") if isinstance(document, dict) else None
    return "" if isinstance(keys, list) and keys else "is not a JWKS document: it holds no `keys`"


def _fault_of_certificates(path: Path) -> str:
    try:
        issuer_context(path)
    except ssl.SSLError:
        return "holds no certificates in PEM"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def means(file: gateway_file.Gateway, document: Document, listen: Address) -> Means | None:
    """What policies may count on; None where a fault leaves it open."""
    if not all(document.sound((part,)) for part in ("callers", "listen", "tls")):
        return None
    domain = file.callers.trusted_spiffe_domain
    return Means(
        kubernetes=file.callers.kubernetes is not UNSET,
        trust_domain=None if domain is UNSET else domain,
        unix_socket=listen.path is not None,
    )
