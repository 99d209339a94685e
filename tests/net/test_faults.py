"""`gateway.net.faults`: each network fault has one name and one sentence for every peer."""

import socket
import ssl

import aiohttp
import pytest

from gateway.core.network_faults import NetworkFault
from gateway.net.faults import PEER_ERRORS, network_fault, why
from gateway.net.resolver import Unresolved

# These errors of aiohttp do not come from a peer: warnings of multipart bodies, its streams' own, web sockets.
ELSEWHERE = {
    aiohttp.BadContentDispositionHeader,
    aiohttp.BadContentDispositionParam,
    aiohttp.EofStream,
    aiohttp.WSMessageTypeError,
    aiohttp.WebSocketError,
}


def test_every_error_of_the_client_is_mapped() -> None:
    """No error that aiohttp exports can come out as a fault of the gateway."""
    exported = [getattr(aiohttp, name) for name in aiohttp.__all__]
    errors = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)}

    assert len(errors) > 20
    assert {kind for kind in errors if not issubclass(kind, PEER_ERRORS)} == ELSEWHERE
    assert {NetworkFault} == {
        type(network_fault(kind.__new__(kind))) for kind in errors - ELSEWHERE if not _connector(kind)
    }


def _connector(kind: type[Exception]) -> bool:
    return issubclass(kind, aiohttp.ClientConnectorError)


@pytest.mark.parametrize(
    ("error", "connecting", "fault"),
    [
        (TimeoutError(), False, NetworkFault.HTTP_RESPONSE_TIMEOUT),
        (TimeoutError(), True, NetworkFault.CONNECTION_TIMEOUT),
        (aiohttp.ConnectionTimeoutError(), False, NetworkFault.CONNECTION_TIMEOUT),
        (Unresolved("no such name", silent=False), True, NetworkFault.DNS_ERROR),
        (Unresolved("no answer", silent=True), True, NetworkFault.DNS_TIMEOUT),
        (ssl.SSLCertVerificationError(), True, NetworkFault.TLS_CERTIFICATE_ERROR),
        (ssl.SSLError(), True, NetworkFault.TLS_PROTOCOL_ERROR),
        (ConnectionRefusedError(), True, NetworkFault.CONNECTION_REFUSED),
        (ConnectionResetError(), True, NetworkFault.DESTINATION_UNAVAILABLE),
        (ConnectionResetError(), False, NetworkFault.CONNECTION_TERMINATED),
        (OSError("no route to host"), True, NetworkFault.DESTINATION_UNAVAILABLE),
        (aiohttp.ServerDisconnectedError(), False, NetworkFault.CONNECTION_TERMINATED),
        (aiohttp.ClientPayloadError(), False, NetworkFault.HTTP_PROTOCOL_ERROR),
    ],
)
def test_an_error_has_the_name_of_rfc_9209(error: Exception, connecting: bool, fault: NetworkFault) -> None:
    """`Proxy-Status`, metrics and logs call a failure by the standard's own name."""
    assert fault is network_fault(error, connecting=connecting)


async def test_a_refused_connection_is_called_so_through_aiohttp() -> None:
    """aiohttp wraps what the kernel said; the wrapped reason counts."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.get(url)

    assert NetworkFault.CONNECTION_REFUSED is network_fault(caught.value)
    assert "the connection was refused" == why(caught.value)


def test_every_fault_has_its_row() -> None:
    """Every fault has a code for the caller and a sentence for the operator."""
    assert all(fault.code.status >= 500 and fault.why for fault in NetworkFault)
