"""Where answers to ``GET /me`` are kept, behind aiohttp-client-cache; a fault of the storage is never one of a request.

What that library does by itself and must not do here (version 0.15): it keys by the URL alone, pickles whole responses
with the request's ``Authorization``, aliases redirects, expires by the wall clock, and lets errors of its storage out.
"""

import json
import time
from collections.abc import AsyncIterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, NoReturn

from aiohttp import ClientResponse
from aiohttp.typedefs import StrOrURL
from aiohttp_client_cache.backends.base import BaseCache, CacheBackend, ResponseOrKey
from aiohttp_client_cache.cache_control import CacheActions
from aiohttp_client_cache.response import AnyResponse, CachedResponse
from yarl import URL

from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.secret import Secret
from gateway.keys.storage import Clock, Patient, Recent, Storage


class Answer(CachedResponse):
    """An answer to ``GET /me`` as it is kept: status, content type, body, and the moment at which it was asked for."""

    fetched_at: float

    @classmethod
    def of(cls, content_type: str, body: bytes, fetched_at: float) -> "Answer":
        """``fetched_at`` is a reading of the clock that the `Answers` it goes to were given."""
        answer = cls("GET", "OK", 200, URL("/me"), "HTTP/1.1", body=body)
        answer.raw_headers = ((b"Content-Type", content_type.encode("utf-8", "surrogateescape")),)
        answer.fetched_at = fetched_at
        return answer


class AnswerText:
    """Answers as JSON text ``{status, content_type, body, fetched_at}``: nothing of the request, and no pickle."""

    def dumps(self, answer: Answer) -> bytes:
        fields = {
            "status": answer.status,
            "content_type": answer.headers.get("Content-Type", ""),
            "body": answer._body.decode(),  # noqa: SLF001 - the library's reader of it is a coroutine
            "fetched_at": answer.fetched_at,
        }
        return json.dumps(fields).encode()

    def loads(self, text: bytes) -> Answer | None:
        """None for whatever is not such a text with status 200."""
        try:
            fields = json.loads(text)
            if not isinstance(fields, dict) or fields.keys() != {"status", "content_type", "body", "fetched_at"}:
                return None
            content_type, body, fetched_at = fields["content_type"], fields["body"], fields["fetched_at"]
            if fields["status"] != 200 or type(fetched_at) not in (int, float):
                return None
            if not isinstance(content_type, str) or not isinstance(body, str):
                return None
            return Answer.of(content_type, body.encode(), float(fetched_at))
        except (ValueError, OverflowError, RecursionError):
            return None


class Answers(BaseCache):
    """The library's storage interface over a `Storage`.

    ``read`` gives what is younger than ``ttl``, ``stale`` what is younger than ``ttl + stale_if_error``. ``clock`` is
    one that all who share the storage agree on: monotonic for one process. `drop` holds at once and for good, however
    long the storage takes: what was asked for before it is never read again here.
    """

    def __init__(self, storage: Storage, *, ttl: float, stale_if_error: float, clock: Clock = time.monotonic) -> None:
        super().__init__(serializer=AnswerText())
        self._patient: Final = Patient(storage, clock=clock)
        self._ttl: Final = ttl
        self._keep: Final = ttl + stale_if_error
        self._clock: Final = clock
        self._dropped: Final[Recent[float]] = Recent()

    def age(self, answer: Answer) -> float:
        return self._clock() - answer.fetched_at

    async def read(self, key: str) -> Answer | None:
        return await self._younger_than(self._ttl, key)

    async def stale(self, key: str) -> Answer | None:
        return await self._younger_than(self._keep, key)

    async def _younger_than(self, limit: float, key: str) -> Answer | None:
        text = await self._patient.get(key)
        answer = self.deserialize(text) if text else None
        # A clock that others share may have been set back; an answer from the future has no age to go by.
        if not isinstance(answer, Answer) or not 0 <= self.age(answer) < limit:
            return None
        dropped = self._dropped.get(key)
        return answer if dropped is None or answer.fetched_at > dropped else None

    async def write(self, key: str, item: ResponseOrKey) -> None:
        text = self.serialize(item)
        if text is not None:
            await self._patient.set(key, text, self._keep)

    def drop(self, key: str) -> None:
        """Never give out again what was asked for up to now. `delete` then takes it from the storage as well."""
        self._dropped.put(key, self._clock())

    async def delete(self, key: str) -> None:
        await self._patient.delete(key)

    async def bulk_delete(self, keys: set[str]) -> None:
        for key in keys:
            await self.delete(key)

    async def contains(self, key: str) -> bool:
        return await self.read(key) is not None

    async def clear(self) -> None:
        self._not_listed()

    async def size(self) -> int:
        self._not_listed()

    def keys(self) -> AsyncIterable[str]:
        self._not_listed()

    def values(self) -> AsyncIterable[ResponseOrKey]:
        self._not_listed()

    def _not_listed(self) -> NoReturn:
        raise NotImplementedError("a storage is asked for single keys only: a shared one is not ours to list or empty")


class MeCache(CacheBackend):
    """The library's cache for ``GET`` of one URL, keyed by the fingerprint of the secret that asks and nothing else.

    Only a 200 that is an identity is kept. ``refresh=True`` on a request means: ask, whatever is kept, and keep the
    answer. ``Cache-Control`` in either direction has no say.
    """

    def __init__(self, url: URL, answers: Answers, clock: Clock) -> None:
        super().__init__(allowed_codes=(200,), allowed_methods=("GET",), filter_fn=_says_who)
        self._url: Final = url
        self._clock: Final = clock
        self._asked_at: Final[ContextVar[float]] = ContextVar("asked_at")
        self.responses = answers

    def create_key(self, method: str, url: StrOrURL, headers: Mapping[str, str] | None = None, **_: Any) -> str:
        """The key of our own request. Raises ValueError for any request but ``GET /me`` with a secret."""
        scheme, text = bearer(headers or {})
        if method != "GET" or URL(url) != self._url or scheme != "Bearer":
            raise ValueError("this cache is for `GET /me` with a key, and for nothing else")
        return key_of(Secret(text))

    def create_cache_actions(self, key: str, *_: Any, refresh: bool = False, **__: Any) -> CacheActions:
        # Age counts from the question, as in RFC 9111 section 4.2.3: an edit made while the answer was on its way
        # cannot hide behind it.
        self._asked_at.set(self._clock())
        return CacheActions(key=key, skip_read=refresh)

    async def save_response(
        self,
        response: ClientResponse,
        cache_key: str | None = None,
        expires: datetime | None = None,  # noqa: ARG002 - the wall clock's; ages are ours
    ) -> None:
        """Keep the body and nothing of the request. A redirect is never aliased: none is followed."""
        if cache_key is not None:
            content_type = response.headers.get("Content-Type", "")
            await self.responses.write(cache_key, Answer.of(content_type, await response.read(), self._asked_at.get()))


def key_of(secret: Secret) -> str:
    """The key under which the answer to a secret's ``GET /me`` is kept."""
    return f"GET /me {secret.fingerprint}"


def bearer(headers: Mapping[str, str]) -> tuple[str, str]:
    """The scheme and the credential of ``Authorization``, each empty where there is none."""
    scheme, _, credential = headers.get("Authorization", "").partition(" ")
    return scheme, credential


def identity_in(response: AnyResponse, body: bytes) -> Identity:
    """The identity in the body of a 200. Raises `NotAnIdentity`, also where it repeats the key that asked for it."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotAnIdentity("not UTF-8") from error
    _, credential = bearer(response.request_info.headers)
    if credential and credential in text:
        raise NotAnIdentity("it repeats the key, which must be neither kept nor shown to a caller")
    return Identity.read(text)


async def _says_who(response: AnyResponse) -> bool:
    if response.status != 200:
        return False
    try:
        identity_in(response, await response.read())
    except NotAnIdentity:
        return False
    return True
