"""Maps errors of sockets, TLS and aiohttp to the closed list of network faults. There is no other such table."""

import ssl
from typing import Final

import aiohttp

from gateway.core.network_faults import NetworkFault
from gateway.net.resolver import Unresolved

# The first row that fits wins. aiohttp's time-outs are TimeoutErrors, and most of its errors OSErrors as well.
_FAULTS: Final[tuple[tuple[type[BaseException], NetworkFault], ...]] = (
    (aiohttp.ConnectionTimeoutError, NetworkFault.CONNECTION_TIMEOUT),
    (TimeoutError, NetworkFault.HTTP_RESPONSE_TIMEOUT),
    (Unresolved, NetworkFault.DNS_ERROR),
    (aiohttp.ClientConnectorDNSError, NetworkFault.DNS_ERROR),
    (aiohttp.ClientConnectorCertificateError, NetworkFault.TLS_CERTIFICATE_ERROR),
    (ssl.SSLCertVerificationError, NetworkFault.TLS_CERTIFICATE_ERROR),
    (aiohttp.ClientSSLError, NetworkFault.TLS_PROTOCOL_ERROR),
    (ssl.SSLError, NetworkFault.TLS_PROTOCOL_ERROR),
    (ConnectionRefusedError, NetworkFault.CONNECTION_REFUSED),
    (ConnectionError, NetworkFault.CONNECTION_TERMINATED),
    (aiohttp.ClientConnectorError, NetworkFault.DESTINATION_UNAVAILABLE),
    (aiohttp.ClientOSError, NetworkFault.CONNECTION_TERMINATED),
    (aiohttp.ServerDisconnectedError, NetworkFault.CONNECTION_TERMINATED),
    (aiohttp.ClientError, NetworkFault.HTTP_PROTOCOL_ERROR),
    (OSError, NetworkFault.DESTINATION_UNAVAILABLE),
)
# Every error that a peer can cause in a client.
PEER_ERRORS: Final = (aiohttp.ClientError, OSError, TimeoutError)


def network_fault(error: BaseException, *, connecting: bool = False) -> NetworkFault:
    """The fault that an error of `PEER_ERRORS` means; ``connecting`` before there is a connection."""
    if isinstance(error, Unresolved) and error.silent:
        return NetworkFault.DNS_TIMEOUT
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(cause, ConnectionRefusedError):
        return NetworkFault.CONNECTION_REFUSED
    fault = next(fault for kind, fault in _FAULTS if isinstance(error, kind))
    if connecting and fault is NetworkFault.HTTP_RESPONSE_TIMEOUT:
        return NetworkFault.CONNECTION_TIMEOUT
    if connecting and fault is NetworkFault.CONNECTION_TERMINATED:
        return NetworkFault.DESTINATION_UNAVAILABLE
    return fault


def why(error: BaseException) -> str:
    """The reason in words, free of names and secrets, as in "the issuer cannot be asked: no answer in time"."""
    return network_fault(error).why
