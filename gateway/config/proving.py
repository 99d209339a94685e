"""The parts of ``gateway.yaml`` by which callers prove themselves: ``tls`` and ``callers``."""

import json
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.assembly.snapshot import Issuer
from gateway.config.proofs import Means
from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema.gateway import Gateway
from gateway.config.tls import BadTls, issuer_context, listener_context, unreadable

# Where Kubernetes mounts the CA of its API server and the pod's own token.
_MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_API_SERVER: Final = "kubernetes.default.svc"
MAX_JWKS: Final = 256 * 1024


def check_tls(settings: Gateway, document: Document, *, look: bool = True) -> None:
    """Try the listener's TLS, and report what is wrong with it. Unless it is to ``look``, no file is opened."""
    tls = settings.tls
    if tls is None:
        return
    problems = unreadable(tls) if look else []
    try:
        if look and not problems:
            listener_context(tls)
    except BadTls as fault:
        problems = [fault]
    for problem in problems:
        document.report(("tls", problem.setting), str(problem))
    if tls.client_ca is not None and document.sound(("callers",)) and settings.callers.trusted_spiffe_domain is None:
        document.report(("tls", "client_ca"), "proves nobody without `callers.trusted_spiffe_domain`")


def read_trust_domain(settings: Gateway, document: Document) -> str | None:
    """The domain whose client certificates are believed; None where none are asked for."""
    domain = settings.callers.trusted_spiffe_domain
    if domain is not None and document.sound(("tls",)) and (settings.tls is None or settings.tls.client_ca is None):
        document.report(("callers", "trusted_spiffe_domain"), "proves nobody without `tls.client_ca`")
    return domain


def read_issuer(settings: Gateway, document: Document, *, look: bool = True) -> Issuer | None:
    """Whose Kubernetes tokens are believed; None where nobody's are. Where not to ``look``, no file is opened."""
    entry, here = settings.callers.kubernetes, ("callers", "kubernetes")
    if entry is None:
        return None
    if entry.jwks is not None:
        if look and (why := _fault_of_jwks(entry.jwks)):
            document.report((*here, "jwks"), f"{shown(str(entry.jwks))} {why}")
        if entry.ca is not None:
            document.report((*here, "ca"), "is for an issuer that is asked, and `jwks` is a file")
        return Issuer(entry.issuer, entry.audience, jwks=entry.jwks)
    try:
        parts = urlsplit(entry.issuer)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        document.report((*here, "issuer"), "the URL's host or port cannot be read")
        host = ""
    if entry.ca is not None and look and (why := _fault_of_certificates(entry.ca)):
        document.report((*here, "ca"), f"{shown(str(entry.ca))} {why}")
    if not _is_api_server(host):
        return Issuer(entry.issuer, entry.audience, ca=entry.ca)
    return Issuer(entry.issuer, entry.audience, ca=entry.ca or _MOUNTED / "ca.crt", token=_MOUNTED / "token")


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


def means(settings: Gateway, document: Document) -> Means | None:
    """What policies may count on; None where a fault leaves it open."""
    if not all(document.sound((part,)) for part in ("callers", "listen", "tls")):
        return None
    return Means(
        kubernetes=settings.callers.kubernetes is not None,
        trust_domain=settings.callers.trusted_spiffe_domain,
        unix_socket=settings.listen.path is not None,
    )
