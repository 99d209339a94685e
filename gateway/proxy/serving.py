"""What one request is served with, in one frozen value; a reload swaps it whole."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.assembly.snapshot import Snapshot
from gateway.keys.keyring import Keyring
from gateway.proxy.upstream import Upstream

if TYPE_CHECKING:
    from gateway.callers.kubernetes import ServiceAccounts


@dataclass(frozen=True, slots=True)
class Serving:
    """A checked configuration with the keys and the upstream that go with it.

    ``accounts`` verifies Kubernetes tokens; None where none are believed.
    """

    snapshot: Snapshot
    keyring: Keyring
    upstream: Upstream
    accounts: "ServiceAccounts | None" = None


@dataclass(slots=True)
class Current:
    """The one mutable cell. A request reads it once, so no request is judged by a mixture of two configurations."""

    serving: Serving
    draining: bool = False
