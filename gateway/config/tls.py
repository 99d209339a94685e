"""TLS of the traffic listener.

The context is not made by `ssl.create_default_context`, which would write session keys to ``SSLKEYLOGFILE``.
"""

import ssl
from pathlib import Path
from typing import Final

from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema.gateway import Gateway, Tls

_CERTIFICATE: Final = "certificate"
_PRIVATE_KEY: Final = "private_key"
_CLIENT_CA: Final = "client_ca"


class BadTls(Exception):
    """A file of ``tls`` cannot be used. ``setting`` is which; the text says why and holds nothing of the file."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting: Final = setting


def listener_context(tls: Tls) -> ssl.SSLContext:
    """For callers: TLS 1.2 is the least; with ``client_ca`` a certificate is asked for, and verified where one comes.

    Raises `BadTls`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for problem in unreadable(tls):
        raise problem
    _load_certificate(context, tls)
    if tls.client_ca is not None:
        _load_authorities(context, _CLIENT_CA, tls.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        # A resumed session brings its certificate along, and is not verified anew. Python cannot turn off the cache of
        # TLS 1.2; a caller's certificate is held to its dates all the same.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def check_tls(settings: Gateway, document: Document, *, look: bool = True) -> None:
    """Try the listener's TLS, and report what is wrong. Unless ``look``, no file is opened."""
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
    domain = getattr(settings.callers, "trusted_spiffe_domain", None)
    if tls.client_ca is not None and document.sound(("callers",)) and domain is None:
        document.report(("tls", "client_ca"), "proves nobody without `callers.trusted_spiffe_domain`")


def unreadable(tls: Tls) -> list[BadTls]:
    """A problem for each of the files that cannot be read."""
    found = []
    for setting, path in (
        (_CERTIFICATE, tls.certificate),
        (_PRIVATE_KEY, tls.private_key),
        (_CLIENT_CA, tls.client_ca),
    ):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            found.append(BadTls(setting, f"{shown(str(path))} cannot be read: {error.strerror}"))
    return found


def _load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), _CERTIFICATE, tls.certificate)
    asked: list[bool] = []

    def no_password() -> str:
        # Without one, OpenSSL would ask at the terminal.
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(tls.certificate, tls.private_key, no_password)
    except ssl.SSLError as error:
        if asked:
            raise BadTls(_PRIVATE_KEY, f"{shown(str(tls.private_key))} is encrypted; give the key in clear") from None
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{shown(str(tls.private_key))} is not the key of the certificate in `tls.certificate`"
            raise BadTls(_PRIVATE_KEY, message) from None
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
            message = f"{shown(str(tls.certificate))} is too weak to be used ({error.reason})"
            raise BadTls(_CERTIFICATE, message) from None
        raise BadTls(_PRIVATE_KEY, f"{shown(str(tls.private_key))} holds no private key in PEM") from None


def _load_authorities(context: ssl.SSLContext, setting: str, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise BadTls(setting, f"{shown(str(path))} holds no certificates in PEM") from None
