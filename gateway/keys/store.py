"""Where answers to ``GET /me`` are kept, behind aiohttp-client-cache; a fault of the storage is never one of a request.

What that library does by itself and must not do here (version 0.15): it keys by the URL alone, pickles whole responses
with the request's ``Authorization``, aliases redirects, expires by the wall clock, and lets errors of its storage out.
What is stored is JSON text behind a seal (HMAC-SHA-256) that only whoever holds the secret can make: whatever else is
found there, put by whomever or under whatever name, is a miss.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final

from aiohttp import ClientResponse
from aiohttp.typedefs import StrOrURL
from yarl import URL

from gateway.core.identity import Identity, NotAnIdentity
from gateway.core.secret import Secret
from gateway.keys.answers import LEASE, Answer, Answers, Entry
from gateway.keys.library import AnyResponse, CacheActions, CacheBackend

# How often it is looked for the answer of another process.
_POLL: Final = 0.03


class MeCache(CacheBackend):
    """The library's cache for ``GET`` of one URL, keyed by the fingerprint of the secret that asks and nothing else.

    Only a 200 that is an identity is kept. ``refresh=True`` on a request means: ask, whatever is kept, and keep the
    answer. ``Cache-Control`` in either direction has no say.
    """

    def __init__(self, url: URL, answers: Answers) -> None:
        super().__init__(allowed_codes=(200,), allowed_methods=("GET",), filter_fn=_says_who)
        self._url: Final = url
        self._asked_at: Final[ContextVar[tuple[float, float]]] = ContextVar("asked_at")
        self.responses: Answers = answers

    def create_key(self, method: str, url: StrOrURL, headers: Mapping[str, str] | None = None, **_: Any) -> Entry:
        """The key of our own request. Raises ValueError for any request but ``GET /me`` with a secret."""
        scheme, text = bearer(headers or {})
        if method != "GET" or URL(url) != self._url or scheme != "Bearer":
            raise ValueError("this cache is for `GET /me` with a key, and for nothing else")
        return key_of(Secret(text), self._url)

    async def anothers(self, key: Entry) -> AnyResponse | None:
        """The answer that another process, which has claimed the question, is about to bring; None where it does not.

        Given up after `LEASE` seconds, or at once where the claim is gone and nothing has come: it was refused.
        """
        loop = asyncio.get_running_loop()
        latest = loop.time() + LEASE
        while loop.time() < latest:
            await asyncio.sleep(_POLL)
            waiting = await self.responses.is_claimed(key)
            answer = await self.get_response(key)
            if answer is not None or not waiting:
                return answer
        return None

    def create_cache_actions(self, key: str, *_: Any, refresh: bool = False, **__: Any) -> CacheActions:
        # Age counts from the question, as in RFC 9111 section 4.2.3: an edit made while the answer was on its way
        # cannot hide behind it.
        self._asked_at.set(self.responses.now())
        return CacheActions(key=key, skip_read=refresh)

    async def save_response(
        self,
        response: ClientResponse,
        cache_key: str | None = None,
        expires: datetime | None = None,  # noqa: ARG002 - the wall clock's; ages are ours
    ) -> None:
        """Keep the body and nothing of the request. A redirect is never aliased: none is followed."""
        if cache_key is not None:
            fetched_at, asked_at = self._asked_at.get()
            answer = Answer.of(response.headers.get("Content-Type", ""), await response.read(), fetched_at)
            answer.asked_at = asked_at
            await self.responses.write(cache_key, answer)


def key_of(secret: Secret, url: URL) -> Entry:
    """The name under which the answer to a secret's ``GET`` of a URL is kept: another server's is another answer."""
    return Entry(f"me:{hashlib.sha256(str(url).encode()).hexdigest()[:16]}:{secret.fingerprint}", secret)


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
