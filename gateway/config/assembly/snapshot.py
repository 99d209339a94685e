"""The checked configuration: frozen values that the serving path reads, swapped whole."""

from collections.abc import Mapping

import msgspec

from gateway.callers.callers import Callers
from gateway.callers.kind import Available
from gateway.config.assembly.policies import PolicyFile
from gateway.config.schema.gateway import Gateway
from gateway.config.store import Store
from gateway.core.catalog import Catalog
from gateway.core.policy import Policy
from gateway.core.routing import Routes
from gateway.core.secret import Secret


class Slot(msgspec.Struct, frozen=True):
    """One place in a key's list of secrets, from 1. ``secret`` is None while its file or variable does not exist."""

    place: int
    source: str
    secret: Secret | None


class Key(msgspec.Struct, frozen=True):
    """A named upstream credential: its secrets in order of preference, and the workspace it is pinned to."""

    name: str
    slots: tuple[Slot, ...]
    workspace: str | None


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that one request is judged by. A request reads it once, so a reload cannot split it.

    ``settings`` are the values of ``gateway.yaml``; the rest is what they name, read and checked. ``keys`` and
    ``policies`` are by the name of key and caller. ``files`` are the policies as they were read, with ``verifying``.
    """

    settings: Gateway
    keys: Mapping[str, Key]
    routes: Routes
    policies: Mapping[str, Policy]
    callers: Callers
    catalog: Catalog
    store: Store = None
    files: tuple[PolicyFile, ...] = ()
    verifying: Available | None = None
