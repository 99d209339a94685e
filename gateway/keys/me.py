"""Asks ``GET /me``: one request on a session of its own, and what its answer means."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from gateway.aio.background import Background
from gateway.core.headers import upstream_fields
from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.key_faults import KeyFault, fault_of_status
from gateway.core.retry_after import read_retry_after
from gateway.core.secret import HeldSecrets, Secret
from gateway.keys.store import BestEffortStore, Clock
from gateway.net.faults import PEER_ERRORS, why

if TYPE_CHECKING:
    from gateway.keys.cached import MeAnswers

MAX_BODY: Final = 262_144

# After a fault, how long no further question is asked: an outage costs one request its time-out, not each request.
# A 429 or 503 may ask for more by `Retry-After`, within reason.
PAUSE: Final = 1.0
MAX_PAUSE: Final = 60.0

# All fields of the request beside the key and `Via`, by which a gateway notices that it asks itself. They stand here
# so that aiohttp adds none of its own.
_FIELDS: Final = (
    ("Accept", "application/json"),
    ("Accept-Encoding", "identity"),
    ("User-Agent", "productlane-gateway"),
)


@dataclass(frozen=True, slots=True)
class Good:
    """An identity that was asked for ``age`` seconds ago, at Unix time ``asked_at``; ``kept``: the store had it."""

    identity: Identity
    age: float
    asked_at: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Productlane refuses the secret."""

    fault: KeyFault


@dataclass(frozen=True, slots=True)
class Fault:
    """Nothing was learnt. ``why`` is free of secrets; ``pause`` is the seconds in which not to ask again."""

    why: str
    pause: float = PAUSE


class _Bounded(aiohttp.ClientResponse):
    """A response whose body is never read beyond `MAX_BODY` bytes, not even by a cache that stores it."""

    async def read(self) -> bytes:
        if self._body is None:
            pieces = b""
            try:
                async for piece in self.content.iter_any():
                    pieces += piece
                    if len(pieces) > MAX_BODY:
                        raise aiohttp.ClientPayloadError("too large")
            except BaseException:
                self.close()  # the cache has not yet given it to anybody who could
                raise
            self._body = pieces
        return self._body


class Me:
    """``GET /me`` below ``url``, the upstream's base without a trailing slash, in ``timeout`` seconds at most.

    Answers are kept in ``store`` for ``ttl`` and, to be served stale, for ``stale_if_error`` seconds more; without a
    store, nowhere. ``clock`` is monotonic, ``wall`` Unix time. ``secrets`` are those that no identity may repeat.
    ``resolver`` is aiohttp's own where it is None.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: float,
        stale_if_error: float,
        timeout: float,
        ssl: SSLContext | None,
        clock: Clock,
        wall: Clock = time.time,
        store: BestEffortStore | None = None,
        secrets: HeldSecrets | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._url: Final = URL(f"{url}/me", encoded=True)
        self._ttl: Final = ttl
        self._keep: Final = ttl + stale_if_error
        self._timeout: Final = timeout
        self._ssl: Final = ssl
        self._resolver: Final = resolver
        self._clock: Final = clock
        self._wall: Final = wall
        self._store: Final = store
        self._secrets: Final = secrets or HeldSecrets()
        self._aside: Final = Background()
        self._closed = False

    async def ask(self, secret: Secret, *, newer_than: float) -> Good | Refusal | Fault:
        """What the store or else Productlane says of a secret. Never raises.

        What was asked for at ``newer_than`` (Unix seconds) or before does not count; infinity is Productlane alone.
        """
        if self._closed:
            return Fault("closed")
        answers = self._answers(secret, newer_than)
        try:
            return await self._question(secret, answers)
        except NotAnIdentity:
            return Fault("the answer is not an identity")
        except PEER_ERRORS as error:
            return Fault(why(error))
        finally:
            if answers is not None:
                self._aside.start(answers.release())

    async def stale(self, secret: Secret, *, newer_than: float) -> Good | None:
        """The last good answer in the store, where it may still be used while Productlane cannot be asked."""
        answers = self._answers(secret, newer_than)
        found = None if answers is None else await answers.stale()
        return None if found is None else Good(*found, kept=True)

    def drop(self, secret: Secret) -> None:
        """Delete what the store has of a secret; nobody waits for it. Called on the event loop."""
        answers = self._answers(secret, float("inf"))
        if answers is not None:
            self._aside.start(answers.delete())

    async def close(self) -> None:
        """Ask nothing from now on, and wait for what the store is still to do."""
        self._closed = True
        await self._aside.join()

    async def _question(self, secret: Secret, answers: "MeAnswers | None") -> Good | Refusal | Fault:
        began, asked_at = self._clock(), self._wall()
        fields = CIMultiDict([*_FIELDS, *upstream_fields(secret)])
        async with (
            self._session(answers) as session,
            session.get(self._url, headers=fields, allow_redirects=False) as response,
        ):
            if answers is not None and answers.found is not None:
                return Good(*answers.found, kept=True)
            if (fault := fault_of_status(response.status)) is not None:
                self.drop(secret)
                return Refusal(fault)
            if response.status != 200:
                return Fault(f"status {response.status}", _pause(response.headers))
            identity = Identity.read(await response.read(), self._secrets.including(secret))
            return Good(identity, self._clock() - began, asked_at, kept=False)

    def _answers(self, secret: Secret, newer_than: float) -> "MeAnswers | None":
        if self._store is None:
            return None
        from gateway.keys.cached import MeAnswers

        return MeAnswers(
            self._store,
            secret,
            self._url,
            ttl=self._ttl,
            keep=self._keep,
            newer_than=newer_than,
            stamp=self._wall,
            secrets=self._secrets.including(secret),
        )

    def _session(self, answers: "MeAnswers | None") -> aiohttp.ClientSession:
        """A session for one question. One a minute and secret gains nothing from kept connections."""
        ssl: Any = True if self._ssl is None else self._ssl
        settings: dict[str, Any] = {
            "connector": aiohttp.TCPConnector(ssl=ssl, force_close=True, resolver=self._resolver, use_dns_cache=False),
            "cookie_jar": aiohttp.DummyCookieJar(),
            "response_class": _Bounded,
            "timeout": aiohttp.ClientTimeout(total=self._timeout),
            "auto_decompress": False,
            "trust_env": False,
        }
        return aiohttp.ClientSession(**settings) if answers is None else answers.session(**settings)


def _pause(headers: Mapping[str, str]) -> float:
    """How long not to ask again, in seconds: what ``Retry-After`` says, within bounds."""
    return min(max(read_retry_after(headers) or 0.0, PAUSE), MAX_PAUSE)
