"""Checks requests to the admin listener: the name in Host, and the token that other hosts need for the status."""

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from typing import Final, NamedTuple

from multidict import CIMultiDictProxy

# The token that other hosts need for the status; None without one.
Token = Callable[[], str | None]

_STATUS: Final = frozenset({"/status", "/status.json"})
_LOCAL_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


class Asked(NamedTuple):
    """A request to the admin listener. ``peer`` is the IP address of the other end, empty on a unix socket."""

    method: str
    path: str
    fields: CIMultiDictProxy[str]
    peer: str


class Denied(Exception):
    """A request that is not served: the status, the code and the message of the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status: Final = status
        self.code: Final = code
        self.message: Final = message


def check(asked: Asked, token: Token) -> None:
    """Raise `Denied`: 421 for a foreign Host, 403 for a status without the token.

    A web page can make its own name lead to this machine (DNS rebinding), and a browser then sends that name as Host.
    So a peer on this machine has to use a name of this machine. The names that other hosts use cannot be known here;
    what they may see without a token holds no names of callers.
    """
    if is_local(asked.peer):
        if not _is_local_name(asked.fields.get("Host", "")):
            message = "On this machine the listener is called localhost or 127.0.0.1."
            raise Denied(421, "misdirected_request", message)
    elif asked.path in _STATUS and not _proven(asked, token):
        message = "From other hosts the status wants `Authorization: Bearer <status_token>`; or forward a port to it."
        raise Denied(403, "forbidden", message)


def is_local(peer: str) -> bool:
    """Whether the peer is on this machine, by loopback or by a unix socket."""
    if not peer:
        return True
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_local_name(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    name = name if colon and port.isdigit() else host
    if name.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _proven(asked: Asked, token: Token) -> bool:
    scheme, _, given = asked.fields.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not (wanted := token()):
        return False
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given.strip(), wanted))
    return hmac.compare_digest(*digests)
