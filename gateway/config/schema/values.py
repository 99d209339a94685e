"""Addresses and URLs of the settings, checked and made into values."""

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.config.store import PORT, Password, Redis, Store
from gateway.core.field_rules import never_crosses
from gateway.net.listen_address import Address

# sun_path of unix(7) holds 108 bytes with its closing zero.
_LONGEST_SOCKET: Final = 107
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?")
_BASE: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_NUMERIC: Final = re.compile(r"[0-9.]*|.*:.*")
_DOTS: Final = re.compile(r"/\.{1,2}(?:/|$)")
_REDIS: Final = re.compile(
    r"(?P<scheme>rediss?)://(?:(?P<user>[^:@/\s]*)(?::(?P<password>[^@/\s]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/(?P<database>[0-9]{0,3}))?"
)


def address(text: str, base: Path) -> Address:
    """An address from ``host:port``, ``[IPv6]:port`` or ``unix:/path``, the path being relative to ``base``.

    Raises `ValueError` with what is wrong.
    """
    if text.startswith("unix:"):
        path = base / text.removeprefix("unix:")
        if len(str(path).encode()) > _LONGEST_SOCKET:
            raise ValueError(f"the path of a unix socket may have at most {_LONGEST_SOCKET} bytes")
        return Address(path=path)
    host, _, port = text.rpartition(":")
    if int(port) > 65535:
        raise ValueError("a port is at most 65535")
    host = host.removeprefix("[").removesuffix("]")
    # `127.1` and the like are names to some resolvers and addresses to others.
    if not (_is_ip(host) if _NUMERIC.fullmatch(host) else _HOST.fullmatch(host)):
        raise ValueError("the host is neither an address nor a name")
    return Address(host, int(port))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else: 127.0.0.0/8, ::1, localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_private(listener: Address) -> bool:
    """Whether only this machine reaches a listener."""
    return listener.path is not None or is_loopback(listener.host)


def base_url(text: str) -> str:
    """The upstream's base URL without its last slash.

    Raises `ValueError` with what is wrong, without showing the text: a user name or password may stand in it.
    """
    if not text.isascii() or not text.isprintable() or any(c in text for c in " \\"):
        raise ValueError("the URL holds spaces, control characters, backslashes or other characters than ASCII")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the URL's host or port cannot be read") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("expected a URL such as https://productlane.com/api/v2")
    if "@" in parts.netloc:
        raise ValueError("the URL may not hold a user name or password")
    if "?" in text or "#" in text:
        raise ValueError("the URL may not hold a query or fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("http:// is for loopback only, since keys would cross the network in clear; use https://")
    if port == 0 or not (_HOST.fullmatch(host) or ":" in host):
        raise ValueError("the URL's host or port cannot be read")
    path = parts.path.rstrip("/")
    if not _BASE.fullmatch(path) or _DOTS.search(path):
        raise ValueError("the URL's path may hold only plain segments")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}{path}"


def store(text: str, base: Path) -> Store:
    """Where answers are kept, from ``memory``, ``sqlite:path`` or the URL of a Redis.

    Raises `ValueError`, without showing the text: it may hold a password.
    """
    kind, _, rest = text.partition(":")
    if kind == "memory":
        return None
    if kind == "sqlite":
        return base / rest
    found = _REDIS.fullmatch(text)
    if found is None or not 0 < (port := int(found["port"] or PORT)) <= 65535:
        raise ValueError("expected a URL such as rediss://user@host:6379/0")
    return Redis(
        host=found["host"].strip("[]"),
        port=port,
        database=int(found["database"] or 0),
        tls=found["scheme"] == "rediss",
        user=unquote(found["user"] or ""),
        password=Password("", unquote(found["password"])) if found["password"] else None,
    )


def field_name(text: str) -> str:
    """The name of a header field that a setting may let cross. Raises `ValueError` for one that none may."""
    if never_crosses(text):
        raise ValueError(f"the field {text} never crosses: it routes or frames a message, or holds a credential")
    return text
