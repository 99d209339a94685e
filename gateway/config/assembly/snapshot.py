"""The checked configuration: frozen values that the serving path reads, swapped whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.schema.gateway import Gateway
from gateway.config.store import Store
from gateway.core.catalog import Catalog
from gateway.core.policy import Policy
from gateway.core.routing import Routes
from gateway.core.secret import Secret


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
class Issuer:
    """Whose Kubernetes tokens are believed, and the audience that they must be for.

    ``jwks`` is a file that holds the issuer's keys. Where it is None they are discovered over HTTPS: ``ca`` is then
    what alone is trusted (the system's certificates where it is None), and ``token`` the file of the gateway's own
    service-account token, which the API server asks for.
    """

    issuer: str
    audience: str
    jwks: Path | None = None
    ca: Path | None = None
    token: Path | None = None


@dataclass(frozen=True, slots=True)
class Callers:
    """How callers are known: what proves one, to the caller's name; and who an anonymous request is.

    ``tokens`` are by SHA-256 digest, ``kubernetes`` by ``namespace/serviceaccount``, ``spiffe`` by SPIFFE id.
    """

    tokens: Mapping[bytes, str]
    anonymous: str | None
    kubernetes: Mapping[str, str] = field(default_factory=dict)
    spiffe: Mapping[str, str] = field(default_factory=dict)
    unix_uids: Mapping[int, str] = field(default_factory=dict)
    issuer: Issuer | None = None
    trusted_spiffe_domain: str | None = None

    @property
    def authenticated(self) -> bool:
        """Whether any policy authenticates; then an unknown credential is never taken for anonymous."""
        return bool(self.tokens or self.kubernetes or self.spiffe or self.unix_uids)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one request is judged by. A request reads it once, so a reload cannot split it.

    ``settings`` are the values of ``gateway.yaml``; the rest is what they name, read and checked. ``keys`` and
    ``policies`` are by the name of key and caller.
    """

    settings: Gateway
    keys: Mapping[str, Key]
    routes: Routes
    policies: Mapping[str, Policy]
    callers: Callers
    catalog: Catalog
    store: Store = None
