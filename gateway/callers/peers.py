"""The other end of a connection, as TLS and the kernel know it. Read once, when the connection is accepted."""

import asyncio
import socket
import ssl
import struct
from typing import Final, NamedTuple

from gateway.callers.certificate import Certificate

# struct ucred of unix(7): process, user and group id.
_UCRED: Final = struct.Struct("iII")


class Peer(NamedTuple):
    """The other end of a connection: its certificate, and on a unix socket the user id of the process.

    ``address`` is its IP address, empty on a unix socket.
    """

    certificate: Certificate | None = None
    uid: int | None = None
    address: str = ""

    @property
    def name(self) -> str:
        """The other end in a log line: its address, or the user of the process."""
        return self.address or ("" if self.uid is None else f"uid {self.uid}")


STRANGER: Final = Peer()


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The other end of a connection after its TLS handshake, if it has one."""
    tls = transport.get_extra_info("ssl_object")
    certificate = _certificate_of(tls) if isinstance(tls, ssl.SSLObject | ssl.SSLSocket) else None
    return Peer(certificate, _uid_of(transport.get_extra_info("socket")), address_of(transport))


def address_of(transport: asyncio.BaseTransport) -> str:
    """The IP address of the other end; empty on a unix socket."""
    found = transport.get_extra_info("peername")
    return str(found[0]) if isinstance(found, tuple) else ""


def _certificate_of(tls: ssl.SSLObject | ssl.SSLSocket) -> Certificate | None:
    # Without a client CA, TLS verifies no certificate.
    if tls.context.verify_mode is ssl.CERT_NONE or not (der := tls.getpeercert(binary_form=True)):
        return None
    # 20 ms and 8 MB to import; only where callers have certificates.
    from gateway.callers.x509_svid import read_certificate

    return read_certificate(der)


def _uid_of(opened: socket.socket | None) -> int | None:
    """The effective user id that the peer had when it connected (SO_PEERCRED of unix(7))."""
    if opened is None or opened.family != socket.AF_UNIX:
        return None
    try:
        data = opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    return int(_UCRED.unpack(data)[1])
