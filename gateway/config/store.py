"""The stores for what outlives a request, as values, and how to connect to a Redis."""

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from gateway.config.secret_source import read_text

PORT: Final = 6379
# How long a connection may take to be made, which no request waits for, and a reply once it stands.
_CONNECT: Final = 2.0


class Password(msgspec.Struct, frozen=True):
    """A password of the store: its text, or the file it is read from whenever it is wanted. Printed, it does not show
    its text.

    ``source`` is as in ``file:/path``, or empty where the text came with the URL.
    """

    source: str
    text: str = ""

    def __repr__(self) -> str:
        return f"Password({self.source!r})"

    def read(self) -> str:
        """The password now. Raises `MissingSecret` or `BadSecret`, as a key's file does; blocks as a file does."""
        return read_text(self.source, {}) if self.source.startswith("file:") else self.text


class Redis(msgspec.Struct, frozen=True):
    """A Redis or Valkey that replicas share. ``user`` is empty for the default one; ``prefix`` begins every key."""

    host: str
    port: int = PORT
    database: int = 0
    tls: bool = False
    ca: Path | None = None
    user: str = ""
    password: Password | None = None
    prefix: str = "productlane-gateway"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    def connection_options(self, patience: float = _CONNECT) -> dict[str, Any]:
        """Arguments of a connection of ``redis.asyncio``: `SSLConnection` where ``tls``, else `Connection`.

        ``patience`` is the seconds in which a connection has to stand and a reply to come. Nothing is tried again.
        """
        options: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "protocol": 2,  # needs no HELLO, so that an ACL can be short
            "socket_timeout": patience,
            "socket_connect_timeout": patience,
        }
        if self.tls:
            options["ssl_min_version"] = ssl.TLSVersion.TLSv1_2
            options |= {} if self.ca is None else {"ssl_ca_certs": str(self.ca)}
        if self.password is not None or self.user:
            options["credential_provider"] = _Credentials(self.user, self.password)
        return options


# None keeps everything in this process; a path is that of an SQLite file.
Store: TypeAlias = Redis | Path | None


class _Credentials:
    """What ``AUTH`` is given, by the interface of ``redis.credentials.CredentialProvider``."""

    def __init__(self, user: str, password: Password | None) -> None:
        self._user: Final = user
        self._password: Final = password

    def get_credentials(self) -> tuple[str, ...]:
        password = "" if self._password is None else self._password.read()
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str, ...]:
        return await asyncio.to_thread(self.get_credentials)
