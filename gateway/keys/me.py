"""Asks Productlane ``GET /me``: one request, and what its answer means. Sent on a session that does nothing else."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from gateway.core.headers import upstream_fields
from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.key_faults import KeyFault, fault_of_status
from gateway.core.retry_after import read_retry_after
from gateway.core.secret import Secret
from gateway.keys.answers import Answer, Answers
from gateway.keys.library import AnyResponse, CachedSession
from gateway.keys.storage import Clock, Storage
from gateway.keys.store import MeCache, identity_in, key_of
from gateway.net.faults import PEER_ERRORS, why

MAX_BODY: Final = 262_144

# After a fault, how long no further question is asked: an outage costs one request its time-out, not each request.
# A 429 or 503 may ask for more by `Retry-After`, within reason.
PAUSE: Final = 1.0
MAX_PAUSE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Good:
    """An identity that was asked for ``age`` seconds ago; ``kept`` where it came from the storage."""

    identity: Identity
    age: float
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
    """A response whose body is never read beyond `MAX_BODY` bytes, not even by the library that keeps it."""

    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._read()
            except BaseException:
                self.close()  # the library has not given it to anybody yet who could
                raise
        return self._body

    async def _read(self) -> bytes:
        pieces, size = [], 0
        async for piece in self.content.iter_any():
            size += len(piece)
            if size > MAX_BODY:
                raise aiohttp.ClientPayloadError("too large")
            pieces.append(piece)
        return b"".join(pieces)


class Me:
    """``GET /me`` below ``url``, the upstream's base without a trailing slash, in ``timeout`` seconds at most.

    ``stamp`` is as for `Answers`; without it, the storage is this process's own. ``resolver`` is aiohttp's own where it
    is None, which asks anew each time.
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
        storage: Storage,
        stamp: Clock | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._url: Final = URL(f"{url}/me", encoded=True)
        self._timeout: Final = timeout
        self._ssl: Final = ssl
        self._resolver: Final = resolver
        self._clock: Final = clock
        self._answers: Final = Answers(storage, ttl=ttl, stale_if_error=stale_if_error, clock=clock, stamp=stamp)
        self._cache: Final = MeCache(self._url, self._answers)
        self._session: CachedSession | None = None
        self._closed = False
        self._aside: Final[set[asyncio.Task[None]]] = set()

    async def ask(self, secret: Secret, *, fresh: bool) -> Good | Refusal | Fault:
        """What the storage or else Productlane says of a secret; Productlane alone where ``fresh``. Never raises."""
        if self._closed:
            return Fault("closed")
        try:
            return await self._question(secret) if fresh else await self._shared(secret)
        except NotAnIdentity:
            return Fault("the answer is not an identity")
        except PEER_ERRORS as error:
            return Fault(why(error))

    async def _shared(self, secret: Secret) -> Good | Refusal | Fault:
        """What is kept, else what another process is asking for just now, else what Productlane says.

        Of those that share a storage one asks, and the others wait for its answer instead of repeating its question.
        """
        key = key_of(secret, self._url)
        if kept := await self._good(await self._cache.get_response(key)):
            return kept
        if not self._answers.is_shared:
            return await self._question(secret)
        if not await self._answers.claim(key):
            return await self._good(await self._cache.anothers(key)) or await self._question(secret)
        try:
            # The answer may have come between the look and the claim.
            return await self._good(await self._cache.get_response(key)) or await self._question(secret)
        finally:
            self._do_aside(self._answers.release(key))

    async def _good(self, kept: AnyResponse | None) -> Good | None:
        if not isinstance(kept, Answer):
            return None
        return Good(identity_in(kept, await kept.read()), self._answers.age(kept), kept=True)

    async def stale(self, secret: Secret) -> Good | None:
        """The last good answer in the storage, where it may still be used while Productlane cannot be asked."""
        try:
            return await self._good(await self._answers.stale(key_of(secret, self._url)))
        except NotAnIdentity:
            return None

    def drop(self, secret: Secret) -> None:
        """Forget what was asked for up to now, at once; the storage follows. Called on the event loop."""
        key = key_of(secret, self._url)
        self._answers.drop(key)
        self._do_aside(self._answers.delete(key))

    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the storage do something that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def close(self) -> None:
        self._closed = True
        if self._aside:
            await asyncio.wait(self._aside)
        if self._session is not None:
            await self._session.close()  # type: ignore[no-untyped-call]

    async def _question(self, secret: Secret) -> Good | Refusal | Fault:
        """Ask Productlane. What is kept has been read before, and `refresh` says so.

        Otherwise the session would read it under its lock, and a question after `drop` wait for one from before.
        """
        began = self._clock()
        headers = CIMultiDict([*_OWN, *upstream_fields(secret)])
        asking = self._open().get(self._url, headers=headers, allow_redirects=False, refresh=True)
        async with asking as response:
            if response.status != 200:
                return self._refused(secret, response)
            return Good(identity_in(response, await response.read()), self._clock() - began, kept=False)

    def _refused(self, secret: Secret, response: aiohttp.ClientResponse) -> Refusal | Fault:
        fault = fault_of_status(response.status)
        if fault is not None:
            self.drop(secret)
            return Refusal(fault)
        return Fault(f"status {response.status}", _pause(response.headers))

    def _open(self) -> CachedSession:
        """The session, made at first use since it needs the running loop.

        One question a minute and secret gains nothing from kept connections, and a new one cannot have died unseen.
        """
        if self._session is None:
            ssl: Any = True if self._ssl is None else self._ssl
            self._session = CachedSession(
                cache=self._cache,
                connector=aiohttp.TCPConnector(ssl=ssl, force_close=True, resolver=self._resolver, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_Bounded,
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


# All that /me is asked with, beside the key and `Via`, which keeps a gateway from asking itself. They stand here so
# that aiohttp adds none of its own.
_OWN: Final = (
    ("Accept", "application/json"),
    ("Accept-Encoding", "identity"),
    ("User-Agent", "productlane-gateway"),
)


def _pause(headers: Mapping[str, str]) -> float:
    """How long not to ask again, in seconds: what ``Retry-After`` says, within bounds."""
    return min(max(read_retry_after(headers) or 0.0, PAUSE), MAX_PAUSE)
