"""Answers to ``GET /me`` as they are kept in a storage: what of them, under which seal, and how old they are."""

import hmac
import json
import time
from collections.abc import AsyncIterable
from typing import Final, NoReturn

from yarl import URL

from gateway.core.secret import Secret
from gateway.keys.library import BaseCache, CachedResponse, ResponseOrKey
from gateway.keys.storage import Clock, Patient, Recent, Storage

# Clocks of hosts that keep time agree better than this; what is further ahead has no age to go by.
SKEW: Final = 1.0
# How long a replica has the others wait for its question. One that dies in the middle of it holds them up no longer.
LEASE: Final = 1.0


class Entry(str):
    """The name of an entry, with the secret whose identity it is and which its value is sealed with."""

    __slots__ = ("secret",)
    secret: Secret

    def __new__(cls, name: str, secret: Secret) -> "Entry":
        entry = super().__new__(cls, name)
        entry.secret = secret
        return entry

    def seal(self, text: bytes) -> bytes:
        """Text with a seal that holds for this entry alone."""
        return self.secret.seal(self.encode() + b"\0" + text).encode() + b" " + text

    def unseal(self, sealed: bytes) -> bytes | None:
        """The text; None where the seal is not ours: written by somebody else, or for another entry."""
        _, _, text = sealed.partition(b" ")
        return text if hmac.compare_digest(self.seal(text), sealed) else None


class Answer(CachedResponse):
    """An answer to ``GET /me`` as it is kept: status, content type, body, and the moment at which it was asked for.

    ``fetched_at`` is that moment by the clock that all who share a storage agree on, ``asked_at`` by this process's.
    """

    fetched_at: float
    asked_at: float

    @classmethod
    def of(cls, content_type: str, body: bytes, fetched_at: float) -> "Answer":
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
    """The library's storage interface over a `Storage`, for names that are an `Entry`.

    ``read`` gives what is younger than ``ttl``, ``stale`` what is younger than ``ttl + stale_if_error``. ``stamp`` is
    a clock that all who share the storage agree on, Unix time; without one, it is this process's own. It may be set
    while this runs, so it only says how old an answer is that this process meets for the first time. From then on
    ``clock``, a monotonic one, does. `drop` holds at once and for good, however long the storage takes: what was asked
    for before it is never read again here.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        ttl: float,
        stale_if_error: float,
        clock: Clock = time.monotonic,
        stamp: Clock | None = None,
    ) -> None:
        super().__init__(serializer=AnswerText())
        self._patient: Final = storage if isinstance(storage, Patient) else Patient(storage, clock=clock)
        self._ttl: Final = ttl
        self._keep: Final = ttl + stale_if_error
        self._clock: Final = clock
        self._stamp: Final = stamp or clock
        self._dropped: Final[Recent[float]] = Recent()
        self._met: Final[Recent[tuple[float, float]]] = Recent()

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use the storage as well."""
        return self._stamp is not self._clock

    def now(self) -> tuple[float, float]:
        """This moment by either clock: for `Answer.fetched_at` and `Answer.asked_at`."""
        return self._stamp(), self._clock()

    def age(self, answer: Answer) -> float:
        return self._clock() - answer.asked_at

    async def read(self, key: str) -> Answer | None:
        return await self._younger_than(self._ttl, key)

    async def stale(self, key: str) -> Answer | None:
        return await self._younger_than(self._keep, key)

    async def _younger_than(self, limit: float, key: str) -> Answer | None:
        sealed = await self._patient.get(str(key)) if isinstance(key, Entry) else None
        text = key.unseal(sealed) if sealed and isinstance(key, Entry) else None
        answer = self.deserialize(text) if text else None
        if not isinstance(answer, Answer) or not self._meet(key, answer) or not self.age(answer) < limit:
            return None
        dropped = self._dropped.get(key)
        return answer if dropped is None or answer.asked_at > dropped else None

    def _meet(self, key: str, answer: Answer) -> bool:
        """Say when an answer was asked for; false where its time cannot be."""
        fetched_at, asked_at = self._met.get(key) or (None, 0.0)
        if answer.fetched_at != fetched_at:
            age = self._stamp() - answer.fetched_at
            if not age > -SKEW:
                return False
            asked_at = self._clock() - max(age, 0.0)
            self._met.put(str(key), (answer.fetched_at, asked_at))
        answer.asked_at = asked_at
        return True

    async def write(self, key: str, item: ResponseOrKey) -> None:
        text = self.serialize(item)
        if text is not None and isinstance(item, Answer) and isinstance(key, Entry):
            self._met.put(str(key), (item.fetched_at, item.asked_at))
            await self._patient.set(str(key), key.seal(text), self._keep)

    def drop(self, key: str) -> None:
        """Never give out again what was asked for up to now. `delete` then takes it from the storage as well."""
        self._dropped.put(str(key), self._clock())

    async def claim(self, key: str) -> bool:
        """Whether the question is ours to ask, for `LEASE` seconds or until `release`."""
        return await self._patient.claim(_claim(key), LEASE)

    async def is_claimed(self, key: str) -> bool:
        return await self._patient.get(_claim(key)) is not None

    async def release(self, key: str) -> None:
        await self._patient.delete(_claim(key))

    async def delete(self, key: str) -> None:
        await self._patient.delete(str(key))

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


def _claim(key: str) -> str:
    return f"{key}:asked"
