"""Questions to ``GET /me`` through aiohttp-client-cache (0.15), where a store outlives or is shared by processes.

The library does the work of a cache: one request through its session reads the store, asks Productlane on a miss, and
writes the answer. What is plugged in, as its documentation says, is a storage (`CacheBackend.responses`).

What it cannot do through its public API, and what stands here instead:

- Its own storages pickle whole responses with the request's ``Authorization``, wait for a silent Redis without bound,
  and set no time to live. `MeAnswers` keeps JSON behind a seal, in a `BestEffortStore`.
- It keys by method and URL, not by credential. A session here is for one question about one secret, and its storage
  names the entry by the secret's fingerprint.
- Its expiry follows the wall clock, and it deletes what has expired, which could then not be served stale. `MeAnswers`
  judges the age itself and tells the library of no expiry.
- It has no stale-if-error, and its lock holds in one process only. Replicas agree by a claim in the store.

Its package imports the client of every backend that is installed, so this module is imported only where there is a
store: with ``store: memory`` a plain session asks.
"""

import asyncio
import hashlib
import hmac
from typing import Any, Final, Literal

import msgspec
from aiohttp_client_cache.backends.base import CacheBackend, DictCache, ResponseOrKey
from aiohttp_client_cache.response import CachedResponse
from aiohttp_client_cache.session import CachedSession
from yarl import URL

from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.secret import Secret
from gateway.keys.me_values import Good, MeSettings
from gateway.keys.store import BestEffortStore

# Clocks of hosts that keep time agree better than this, in seconds. An answer from further ahead has no known age.
SKEW: Final = 1.0
# How long a replica keeps the others waiting for its question. One that dies meanwhile delays them no longer.
LEASE: Final = 1.0
# How often a waiting replica looks for the answer.
_POLL: Final = 0.03


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer as it is stored: nothing of the request. ``fetched_at`` is the Unix time at which it was asked for."""

    status: Literal[200]
    content_type: str
    body: str
    fetched_at: float


_KEPT: Final = msgspec.json.Decoder(Kept)


def name_of(secret: Secret, url: URL) -> str:
    """The name of the entry for a secret at a server. Each server has entries of its own."""
    return f"me:{hashlib.sha256(str(url).encode()).hexdigest()[:16]}:{secret.fingerprint}"


class MeAnswers(DictCache):
    """The library's storage for one question about one secret. Its dictionary stays empty: the store has the entry.

    An entry counts if it is younger than ``ttl`` and was asked for after ``newer_than`` (Unix seconds; infinity ignores
    the store). It is kept for longer, for `stale`. Ages are by Unix time, on which all replicas agree. ``found`` is the
    entry that was read.
    """

    def __init__(self, settings: MeSettings, store: BestEffortStore, secret: Secret, newer_than: float) -> None:
        super().__init__()
        self.found: Good | None = None
        self._settings: Final = settings
        self._store: Final = store
        self._secret: Final = secret
        self._newer_than: Final = newer_than
        self._secrets: Final = settings.secrets.including(secret)
        self._name: Final = name_of(secret, settings.url)
        self._asked_at: Final = settings.wall()
        self._claimed = False

    def session(self, **options: Any) -> CachedSession:
        """A session for this question alone, so that neither its lock nor its cookies are another question's."""
        cache = CacheBackend(allowed_codes=(200,), allowed_methods=("GET",))
        cache.responses = self
        session: CachedSession = CachedSession(cache=cache, **options)
        return session

    async def read(self, key: str) -> CachedResponse | None:  # noqa: ARG002 - there is one entry
        """The stored answer, else that of another replica that is asking just now."""
        if self._newer_than == float("inf"):
            return None
        kept = await self._fresh()
        if kept is None:
            self._claimed = await self._store.claim(f"{self._name}:asked", LEASE)
            # An answer may have come between the look and the claim.
            kept = await (self._fresh() if self._claimed else self._of_another_replica())
        if kept is None:
            return None
        content_type = (b"Content-Type", kept.content_type.encode())
        return CachedResponse(
            "GET", "OK", 200, URL("/me"), "HTTP/1.1", body=kept.body.encode(), raw_headers=(content_type,)
        )

    async def stale(self) -> Good | None:
        """The last answer, as long as it may be used at all."""
        self.found = None
        await self._younger_than(self._settings.keep)
        return self.found

    async def write(self, key: str, item: ResponseOrKey) -> None:  # noqa: ARG002 - there is one entry
        """Keep an answer. Raises `NotAnIdentity`, and keeps nothing, where a 200 is none."""
        if isinstance(item, CachedResponse):
            body = await item.read()
            Identity.read(body, self._secrets)
            content_type = item.headers.get("Content-Type", "").encode("utf-8", "replace").decode()
            text = msgspec.json.encode(Kept(200, content_type, body.decode(), self._asked_at))
            await self._store.set(self._name, self._seal(text) + b" " + text, self._settings.keep)

    async def release(self) -> None:
        """Let other replicas ask, if this one had claimed the question."""
        if self._claimed:
            await self._store.delete(f"{self._name}:asked")

    async def delete(self, key: str = "") -> None:  # noqa: ARG002 - there is one entry
        await self._store.delete(self._name)

    async def _fresh(self) -> Kept | None:
        return await self._younger_than(self._settings.identity.ttl)

    async def _younger_than(self, limit: float) -> Kept | None:
        """The entry, if it is ours, true and young enough; then `found` has its identity."""
        sealed = await self._store.get(self._name)
        seal, _, text = (sealed or b"").partition(b" ")
        if not hmac.compare_digest(self._seal(text), seal):
            return None
        try:
            kept = _KEPT.decode(text)
            identity = Identity.read(kept.body, self._secrets)
        except (msgspec.MsgspecError, NotAnIdentity, ValueError, RecursionError):
            return None
        age = self._settings.wall() - kept.fetched_at
        if age <= -SKEW:
            self._store.failed("read", "an answer from the future")
            return None
        if age >= limit or kept.fetched_at <= self._newer_than:
            return None
        self.found = Good(identity, max(age, 0.0), kept.fetched_at, kept=True)
        return kept

    async def _of_another_replica(self) -> Kept | None:
        """The answer of the replica that claimed the question; None if its claim ends without one."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + LEASE + 2 * _POLL
        while loop.time() < latest:
            await asyncio.sleep(_POLL)
            waiting = await self._store.get(f"{self._name}:asked") is not None
            kept = await self._fresh()
            if kept is not None or not waiting:
                return kept
        # A claim ends by itself after `LEASE`. One that stays was made by somebody else.
        self._store.failed("write", "a claim that does not end")
        return None

    def _seal(self, text: bytes) -> bytes:
        """A seal that only a holder of the secret can make, for this entry alone."""
        return self._secret.seal(self._name.encode() + b"\0" + text).encode()
