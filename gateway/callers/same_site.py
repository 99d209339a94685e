"""Keeps web pages from using an anonymous policy through a browser that can reach the gateway.

A page cannot send a credential that it does not have. Without a credential, the browser's own fields say where a
request comes from (Fetch Metadata, RFC 6454). The name in ``Host`` shows DNS rebinding: the page's own name leads to
loopback.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.refusal import Code, Reason, Refused

# Fetch Metadata, section 2.2: `none` is what a user typed, `same-site` another host of the same site.
_OWN: Final = frozenset({b"same-origin", b"none"})
# RFC 6761 section 6.3, and the addresses of loopback.
_LOOPBACK: Final = re.compile(r"localhost|[a-z0-9-]+\.localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")
_PORT: Final = re.compile(r":[0-9]+$")


def check_same_site(read: Mapping[bytes, Sequence[bytes]], hosts: frozenset[str] | None) -> None:
    """Refuse a request from a page of another site. ``read`` has the values of fields by lower-case name.

    ``hosts`` are the names, beside those of loopback, by which requests may address a loopback listener. None allows
    any name: the listener is not on loopback. Raises `Refused`.
    """
    host = read.get(b"host", (b"",))[0].lower()
    if any(site.lower() not in _OWN for site in read.get(b"sec-fetch-site", ())):
        raise _refused("Sec-Fetch-Site says that the request comes from another site")
    if any(origin.lower().partition(b"://")[2] != host for origin in read.get(b"origin", ())):
        raise _refused("Origin is not the gateway itself")
    name = _PORT.sub("", host.decode("latin-1")).removesuffix(".")
    if hosts is not None and name and not _LOOPBACK.fullmatch(name) and name not in hosts:
        fix = "address the gateway by a name of loopback, or list the name in `callers.anonymous_hosts`"
        raise _refused("Host is no name of loopback", fix)


def _refused(note: str, fix: str = "") -> Refused:
    return Refused(
        Code.FORBIDDEN,
        Reason.CROSS_SITE,
        "A web page of another site may not use an anonymous policy.",
        note=f"the caller is anonymous, and {note}",
        fix=fix,
    )
