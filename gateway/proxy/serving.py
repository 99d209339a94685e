"""What one request is served with, in one frozen value; a reload swaps it whole."""

import msgspec

from gateway.callers.identification import Identification
from gateway.config.assembly.snapshot import Snapshot
from gateway.keys.keyring import Keyring
from gateway.proxy.upstream import Upstream
from gateway.proxy.verdicts import Verdicts


class Serving(msgspec.Struct, frozen=True, eq=False):
    """A checked configuration with what identifies its callers, and the keys and the upstream that go with it."""

    snapshot: Snapshot
    keyring: Keyring
    upstream: Upstream
    identification: Identification
    verdicts: Verdicts = msgspec.field(default_factory=Verdicts)


class Current(msgspec.Struct, eq=False):
    """The one mutable cell. A request reads it once, so no request is judged by a mixture of two configurations."""

    serving: Serving
    draining: bool = False
