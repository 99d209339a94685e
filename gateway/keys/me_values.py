"""Values around a question to ``GET /me``: its settings and its outcomes."""

import time
from ssl import SSLContext
from typing import Final, NamedTuple

import msgspec
from aiohttp.abc import AbstractResolver
from yarl import URL

from gateway.config.schema.gateway import Identity as IdentitySettings
from gateway.core.identity import Identity
from gateway.core.key_faults import KeyFault
from gateway.core.secret import HeldSecrets
from gateway.keys.store import BestEffortStore, Clock

# Seconds without a question after a fault: an outage costs one request its time-out, not each request.
PAUSE: Final = 1.0


class MeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How ``GET /me`` is asked, and for how long its answers are good.

    ``upstream`` is the base URL without a trailing slash, ``timeout`` the seconds that one question may take.
    ``resolver`` is aiohttp's own where it is None. ``store`` keeps answers beyond this process. ``clock`` is monotonic,
    ``wall`` Unix time. No identity may repeat one of ``secrets``; `KeyVerifier` keeps them up to date.
    """

    upstream: str
    identity: IdentitySettings
    timeout: float
    ssl: SSLContext | None = None
    resolver: AbstractResolver | None = None
    store: BestEffortStore | None = None
    clock: Clock = time.monotonic
    wall: Clock = time.time
    secrets: HeldSecrets = msgspec.field(default_factory=HeldSecrets)

    @property
    def url(self) -> URL:
        """Where the question goes."""
        return URL(f"{self.upstream}/me", encoded=True)

    @property
    def keep(self) -> float:
        """The seconds for which an answer may be used at all (RFC 5861 section 4)."""
        return self.identity.ttl + self.identity.stale_if_error


class Good(NamedTuple):
    """An identity that was asked for ``age`` seconds ago, at Unix time ``asked_at``; ``kept``: the store had it."""

    identity: Identity
    age: float
    asked_at: float
    kept: bool


class Refusal(NamedTuple):
    """Productlane refuses the secret."""

    fault: KeyFault


class Fault(NamedTuple):
    """The question failed. ``why`` is free of secrets; ``pause`` is the seconds until the next question."""

    why: str
    pause: float = PAUSE
