"""Checks requests to the admin listener: the name in Host, and the token that other hosts need for the status."""

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from typing import Final

from aiohttp import web

# The token that other hosts need for the status; None without one.
Token = Callable[[], str | None]

_STATUS: Final = frozenset({"/status", "/status.json"})
_LOCAL_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def check(request: web.Request, token: Token) -> None:
    """Raise `web.HTTPMisdirectedRequest` for a foreign Host, `web.HTTPForbidden` for a status without the token.

    A web page can make its own name lead to this machine (DNS rebinding), and a browser then sends that name as Host.
    So a peer on this machine has to use a name of this machine. The names that other hosts use cannot be known here;
    what they may see without a token holds no names of callers.
    """
    if is_local(request):
        if request.transport is not None and not _is_local_name(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(reason="On this machine the listener is called localhost or 127.0.0.1.")
    elif request.path in _STATUS and not _proven(request, token):
        raise web.HTTPForbidden(
            reason="From other hosts the status wants `Authorization: Bearer <status_token>`; or forward a port to it."
        )


def is_local(request: web.Request) -> bool:
    """Whether the peer is on this machine, by loopback or by a unix socket."""
    peer = None if request.transport is None else request.transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return True
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
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


def _proven(request: web.Request, token: Token) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not (wanted := token()):
        return False
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given.strip(), wanted))
    return hmac.compare_digest(*digests)
