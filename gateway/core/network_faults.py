"""Why a peer gave no answer: a closed list named as RFC 9209 section 2.3, with one row for each."""

from collections.abc import Mapping
from typing import Final

from gateway.core.refusal import Code
from gateway.core.row_enum import RowEnum


class NetworkFault(RowEnum):
    """The value is the error type of `Proxy-Status` and of metrics.

    ``code`` is for a caller whose request met it; ``why`` is the reason in words, without a subject.
    """

    def __init__(self, _: str, code: Code, why: str) -> None:
        self.code: Final = code
        self.why: Final = why

    # fmt: off
    DNS_ERROR = "dns_error", Code.UPSTREAM_UNREACHABLE, "its name does not resolve"
    DNS_TIMEOUT = "dns_timeout", Code.UPSTREAM_UNREACHABLE, "its name did not resolve in time"
    CONNECTION_TIMEOUT = "connection_timeout", Code.UPSTREAM_TIMEOUT, "no connection in time"
    CONNECTION_REFUSED = "connection_refused", Code.UPSTREAM_UNREACHABLE, "the connection was refused"
    DESTINATION_UNAVAILABLE = "destination_unavailable", Code.UPSTREAM_UNREACHABLE, "no connection"
    TLS_CERTIFICATE_ERROR = "tls_certificate_error", Code.UPSTREAM_UNREACHABLE, "its TLS certificate is not trusted"
    TLS_PROTOCOL_ERROR = "tls_protocol_error", Code.UPSTREAM_UNREACHABLE, "the TLS handshake failed"
    CONNECTION_WRITE_TIMEOUT = (
        "connection_write_timeout", Code.UPSTREAM_TIMEOUT, "the request could not be sent in time"
    )
    HTTP_RESPONSE_TIMEOUT = "http_response_timeout", Code.UPSTREAM_TIMEOUT, "no answer in time"
    CONNECTION_TERMINATED = "connection_terminated", Code.UPSTREAM_BROKEN, "the connection broke"
    HTTP_PROTOCOL_ERROR = "http_protocol_error", Code.UPSTREAM_BROKEN, "the answer is cut short, too large or not HTTP"
    # fmt: on


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
