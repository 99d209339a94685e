"""The checked configuration: frozen values that the serving path reads, swapped whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.core.catalog import Catalog, Lane
from gateway.core.policy import Policy
from gateway.core.routing import Routes
from gateway.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: ``host`` and ``port``, or a unix socket's ``path``."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where Productlane is. ``url`` has no trailing slash and no query. Times are seconds."""

    url: str
    ca: Path | None
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    max_connections: int
    key_errors: Literal["relay", "translate"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in a key's list of secrets, from 1. ``secret`` is None where its file or variable is not there yet."""

    place: int
    source: str
    secret: Secret | None


@dataclass(frozen=True, slots=True)
class Key:
    """A named upstream credential: its secrets in order of preference, and the workspace it is pinned to."""

    name: str
    slots: tuple[Slot, ...]
    workspace: str | None


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """The ``/me`` cache. Times are seconds."""

    ttl: float
    refused_ttl: float
    stale_if_error: float
    prefetch: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may cost. Times are seconds, sizes bytes."""

    head_timeout: float
    keepalive_timeout: float
    body: Mapping[Lane, int]
    connections: int
    connections_per_address: int


@dataclass(frozen=True, slots=True)
class Callers:
    """How callers are known: a token's SHA-256 digest to the caller's name, and who an anonymous request is."""

    tokens: Mapping[bytes, str]
    anonymous: str | None

    @property
    def authenticated(self) -> bool:
        """Whether any policy authenticates; then an unknown credential is never taken for anonymous."""
        return bool(self.tokens)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one request is judged by. A request reads it once, so a reload cannot split it."""

    listen: Address
    admin: Address
    upstream: Upstream
    keys: Mapping[str, Key]
    routes: Routes
    policies: Mapping[str, Policy]
    callers: Callers
    identity: IdentitySettings
    limits: Limits
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["json", "console"]
    drain_delay: float
    drain_timeout: float
    catalog: Catalog
