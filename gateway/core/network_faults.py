"""Why a peer gave no answer: a closed list named as RFC 9209 section 2.3, with one row for each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.core.refusal import Code


class NetworkFault(StrEnum):
    """The value is the error type of `Proxy-Status` and of metrics."""

    DNS_ERROR = "dns_error"
    DNS_TIMEOUT = "dns_timeout"
    CONNECTION_TIMEOUT = "connection_timeout"
    CONNECTION_REFUSED = "connection_refused"
    DESTINATION_UNAVAILABLE = "destination_unavailable"
    TLS_CERTIFICATE_ERROR = "tls_certificate_error"
    TLS_PROTOCOL_ERROR = "tls_protocol_error"
    CONNECTION_WRITE_TIMEOUT = "connection_write_timeout"
    HTTP_RESPONSE_TIMEOUT = "http_response_timeout"
    CONNECTION_TERMINATED = "connection_terminated"
    HTTP_PROTOCOL_ERROR = "http_protocol_error"


class NetworkRow(NamedTuple):
    """What a fault means: the code for a caller whose request met it, and the reason in words, without a subject."""

    code: Code
    why: str


NETWORK_FAULTS: Final[Mapping[NetworkFault, NetworkRow]] = {
    NetworkFault.DNS_ERROR: NetworkRow(Code.UPSTREAM_UNREACHABLE, "its name does not resolve"),
    NetworkFault.DNS_TIMEOUT: NetworkRow(Code.UPSTREAM_UNREACHABLE, "its name did not resolve in time"),
    NetworkFault.CONNECTION_TIMEOUT: NetworkRow(Code.UPSTREAM_TIMEOUT, "no connection in time"),
    NetworkFault.CONNECTION_REFUSED: NetworkRow(Code.UPSTREAM_UNREACHABLE, "the connection was refused"),
    NetworkFault.DESTINATION_UNAVAILABLE: NetworkRow(Code.UPSTREAM_UNREACHABLE, "no connection"),
    NetworkFault.TLS_CERTIFICATE_ERROR: NetworkRow(Code.UPSTREAM_UNREACHABLE, "its TLS certificate is not trusted"),
    NetworkFault.TLS_PROTOCOL_ERROR: NetworkRow(Code.UPSTREAM_UNREACHABLE, "the TLS handshake failed"),
    NetworkFault.CONNECTION_WRITE_TIMEOUT: NetworkRow(Code.UPSTREAM_TIMEOUT, "the request could not be sent in time"),
    NetworkFault.HTTP_RESPONSE_TIMEOUT: NetworkRow(Code.UPSTREAM_TIMEOUT, "no answer in time"),
    NetworkFault.CONNECTION_TERMINATED: NetworkRow(Code.UPSTREAM_BROKEN, "the connection broke"),
    NetworkFault.HTTP_PROTOCOL_ERROR: NetworkRow(
        Code.UPSTREAM_BROKEN, "the answer is cut short, too large or not HTTP"
    ),
}

# The resolver failed, and says nothing about the peer, which may still answer on open connections.
OF_THE_RESOLVER: Final = frozenset({NetworkFault.DNS_ERROR, NetworkFault.DNS_TIMEOUT})

MESSAGES: Final[Mapping[Code, str]] = {
    Code.UPSTREAM_TIMEOUT: "Productlane did not answer in time.",
    Code.UPSTREAM_BROKEN: "Productlane's answer was broken off or could not be read.",
    Code.UPSTREAM_UNREACHABLE: "Productlane could not be reached.",
}

# A request that got through may have been carried out, although nobody heard of it.
FIXES: Final[Mapping[Code, str]] = {
    Code.UPSTREAM_TIMEOUT: "send it again later, a write only after a look whether it was done",
    Code.UPSTREAM_BROKEN: "send it again, a write only after a look whether it was done",
    Code.UPSTREAM_UNREACHABLE: "send it again soon; if it lasts, run `productlane-gateway doctor` in its place",
}
