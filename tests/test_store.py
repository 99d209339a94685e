"""The side of aiohttp-client-cache: each of its traps is shut."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp_client_cache.session import CachedSession
from yarl import URL

from gateway.keys.storage import MemoryStorage
from gateway.keys.store import Answer, Answers, AnswerText, MeCache, key_of
from tests.me_upstream import A, B, Clock, Productlane, asking, productlane_serving

ME = URL("https://productlane.test/api/v2/me")


@pytest.fixture
async def productlane() -> AsyncIterator[Productlane]:
    async with productlane_serving() as productlane:
        yield productlane


def bearer(secret: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret.reveal()}"}


def kept(storage: MemoryStorage) -> dict[str, bytes]:
    return dict(storage.entries._entries)


def cache(url: URL = ME, storage: MemoryStorage | None = None) -> MeCache:
    clock = Clock()
    return MeCache(url, Answers(storage or MemoryStorage(), ttl=60, stale_if_error=0, clock=clock), clock)


async def test_the_key_is_the_secret_that_asks() -> None:
    """Two secrets never share an entry."""
    keys = [cache().create_key("GET", ME, headers=bearer(secret)) for secret in (A, B)]

    assert [key_of(A), key_of(B)] == keys
    assert keys[0] != keys[1]


async def test_nothing_else_is_in_the_key() -> None:
    """No other header field makes another entry, so a request id cannot defeat the cache."""
    more = bearer(A) | {"X-Request-Id": "req_1", "Cache-Control": "no-cache", "Accept-Language": "de"}

    assert cache().create_key("GET", ME, headers=bearer(A)) == cache().create_key("GET", ME, headers=more)


async def test_the_key_does_not_tell_the_secret() -> None:
    """The name of an entry holds no part of the secret."""
    assert A.reveal() not in key_of(A)
    assert A.preview not in key_of(A)


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("POST", ME, bearer(A)),
        ("GET", URL("https://productlane.test/api/v2/threads"), bearer(A)),
        ("GET", ME % {"a": "b"}, bearer(A)),
        ("GET", ME, {}),
        ("GET", ME, {"Authorization": f"Basic {A.reveal()}"}),
        ("GET", ME, {"Authorization": "Bearer caller-token"}),
    ],
)
async def test_any_other_request_has_no_key(method: str, url: URL, headers: dict[str, str]) -> None:
    """The answer to another request can neither be kept nor be given as an identity."""
    with pytest.raises(ValueError, match=r"nothing else|v2 key"):
        cache().create_key(method, url, headers=headers)


async def test_only_get_is_kept() -> None:
    """No other method is looked up or kept."""
    assert [True, False, False] == [cache().is_method_allowed(method) for method in ("GET", "HEAD", "POST")]


async def test_nothing_secret_is_stored(productlane: Productlane) -> None:
    """What is stored is status, content type, body and time: no key, no request header, no cookie, no pickle."""
    storage = MemoryStorage()
    productlane.headers = {"Set-Cookie": "session=for-one-only", "X-Request-Id": "req_0123456789abcdef"}
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        await identities.lookup("support", A)
        await identities.lookup("support", B)
    values = kept(storage)

    assert {key_of(A), key_of(B)} == set(values)
    for key, value in values.items():
        assert {"status", "content_type", "body", "fetched_at"} == set(json.loads(value))
        for needle in (A.reveal(), B.reveal(), "Authorization", "Bearer", "for-one-only", "req_0123456789abcdef"):
            assert needle not in value.decode()
            assert needle not in key
        for opcode in (b"\x80\x04", b"\x80\x05"):
            assert opcode not in value


async def test_an_answer_that_repeats_the_key_is_not_kept(productlane: Productlane) -> None:
    """A body that holds the key is neither stored nor given to a caller."""
    storage = MemoryStorage()
    body = productlane.identity(A.reveal()) | {"key": A.reveal()}
    productlane.body = json.dumps(body).encode()
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        known = await identities.lookup("support", A)

    assert (None, "error") == (known.identity, known.result)
    assert {} == kept(storage)


async def test_a_stored_pickle_is_never_loaded(productlane: Productlane) -> None:
    """Whoever can write to the storage cannot run code here: a pickle is a miss."""
    ran: list[str] = []
    storage = MemoryStorage()
    evil = pickle.dumps(_Evil())
    await storage.set(key_of(A), evil, 60)
    _Evil.ran = ran
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        known = await identities.lookup("support", A)

    assert ([], "miss", 1) == (ran, known.result, len(productlane.asked))


class _Evil:
    ran: list[str] = []  # noqa: RUF012 - set by the test

    def __reduce__(self) -> Any:
        return _run, ()


def _run() -> None:
    _Evil.ran.append("code")


GOOD = {
    "status": 200,
    "content_type": "application/json",
    "body": json.dumps({"workspace_id": "wks_9", "api_key_id": "key_9", "scopes": ["docs:read"]}),
    "fetched_at": 999.0,
}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"status": 200',
        json.dumps(GOOD | {"status": 401}).encode(),
        json.dumps(GOOD | {"status": "200"}).encode(),
        json.dumps(GOOD | {"extra": 1}).encode(),
        json.dumps({key: GOOD[key] for key in ("status", "content_type", "body")}).encode(),
        json.dumps(GOOD | {"body": {"scopes": []}}).encode(),
        json.dumps(GOOD | {"body": "<html>"}).encode(),
        json.dumps(GOOD | {"body": "\ud800"}).encode(),
        json.dumps(GOOD | {"content_type": None}).encode(),
        json.dumps(GOOD | {"content_type": "\ud800"}).encode(),
        json.dumps(GOOD | {"fetched_at": "999"}).encode(),
        json.dumps(GOOD | {"fetched_at": True}).encode(),
        json.dumps(GOOD | {"fetched_at": float("nan")}).encode(),
        json.dumps(GOOD | {"fetched_at": float("inf")}).encode(),
        json.dumps(GOOD | {"fetched_at": 10**400}).encode(),
        json.dumps(GOOD | {"fetched_at": 1001.0}).encode(),
        json.dumps(GOOD | {"fetched_at": 940.0}).encode(),
    ],
)
async def test_what_is_not_a_kept_answer_is_a_miss(value: bytes, productlane: Productlane) -> None:
    """Garbage, a wrong shape, another status, a time in the future or too old: Productlane is asked."""
    storage = MemoryStorage()
    await storage.set(key_of(A), value, 60)
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        known = await identities.lookup("support", A)

    assert ("miss", 1) == (known.result, len(productlane.asked))
    assert known.identity is not None
    assert "wks_1" == known.identity.workspace


async def test_a_kept_answer_is_used(productlane: Productlane) -> None:
    """What another process or an earlier configuration has stored is a hit, with its true age."""
    storage = MemoryStorage()
    await storage.set(key_of(A), json.dumps(GOOD).encode(), 60)
    clock = Clock()
    async with asking(productlane.url, clock, storage=storage) as identities:
        known = await identities.lookup("support", A)
        clock.now += 58.5
        later = identities.peek(A)
        clock.now += 1
        expired = identities.peek(A)

    assert known.identity is not None
    assert ("hit", 1.0, "wks_9", 0) == (known.result, known.age, known.identity.workspace, len(productlane.asked))
    assert later is not None
    assert (59.5, None) == (later.age, expired)


async def test_an_answer_survives_its_text() -> None:
    """Writing an answer down and reading it again changes nothing."""
    answer = Answer.of("application/json; charset=utf-8", '{"ünïcode": "☃"}'.encode(), 12.5)
    text = AnswerText()
    again = text.loads(text.dumps(answer))

    assert again is not None
    assert (answer.fetched_at, answer.status) == (again.fetched_at, again.status)
    assert (await answer.read(), dict(answer.headers)) == (await again.read(), dict(again.headers))


async def test_what_was_asked_for_before_a_drop_is_never_read_again() -> None:
    """An answer that a slow storage still holds, or that arrives late, does not outlive `drop`."""
    clock, storage = Clock(), MemoryStorage()
    answers = Answers(storage, ttl=60, stale_if_error=60, clock=clock)
    answers.drop("k")
    clock.now += 1
    await answers.write("k", Answer.of("", b"before", 1000.0))
    before = (await answers.read("k"), await answers.stale("k"))
    await answers.write("k", Answer.of("", b"after", 1001.0))
    after = await answers.read("k")

    assert (None, None) == before
    assert after is not None
    assert b"after" == await after.read()


async def test_a_storage_is_never_listed_or_emptied() -> None:
    """The library cannot be made to walk or clear a storage that others may share."""
    answers = Answers(MemoryStorage(), ttl=60, stale_if_error=0)
    for call in (answers.keys, answers.values):
        with pytest.raises(NotImplementedError):
            call()
    for coroutine in (answers.clear, answers.size):
        with pytest.raises(NotImplementedError):
            await coroutine()


async def test_cookies_are_not_replayed(productlane: Productlane) -> None:
    """A cookie of one answer is neither kept nor sent with the next question."""
    productlane.headers = {"Set-Cookie": "session=for-one-only; Path=/"}
    storage, clock = MemoryStorage(), Clock()
    # A name, since cookie jars do not take cookies of addresses by themselves.
    url = productlane.url.replace("127.0.0.1", "localhost")
    for _ in range(2):
        async with asking(url, clock, storage=storage) as identities:
            await identities.lookup("support", A)
            await identities.lookup("support", A, fresh=True)
            jar = identities._me._open().cookie_jar

            assert [] == list(jar)
    assert [None] * 3 == [request.headers.get("Cookie") for request in productlane.asked]


async def test_refresh_asks_whatever_is_kept_and_keeps_the_answer(productlane: Productlane) -> None:
    """`refresh` goes to Productlane, and the next plain request is served what it brought."""
    url, storage = URL(productlane.url) / "me", MemoryStorage()
    async with CachedSession(cache=cache(url, storage), cookie_jar=aiohttp.DummyCookieJar()) as session:
        for scopes, refresh in ((["docs:read"], False), (["tags:read"], True), (["admin"], False)):
            productlane.scopes[A.reveal()] = scopes
            async with session.get(url, headers=bearer(A), refresh=refresh) as response:
                last = await response.json()

    assert (2, ["tags:read"]) == (len(productlane.asked), last["scopes"])


@pytest.mark.parametrize("header", ["no-store", "max-age=0", "max-age=5"])
async def test_cache_control_has_no_say(header: str, productlane: Productlane) -> None:
    """Neither what Productlane answers nor a field of the request shortens or lengthens how long it is kept."""
    productlane.headers = {"Cache-Control": header, "Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}
    url, storage = URL(productlane.url) / "me", MemoryStorage()
    async with CachedSession(cache=cache(url, storage), cookie_jar=aiohttp.DummyCookieJar()) as session:
        for _ in range(3):
            async with session.get(url, headers=bearer(A) | {"Cache-Control": "no-cache"}) as response:
                await response.read()

    assert 1 == len(productlane.asked)


class _Failing(MemoryStorage):
    async def get(self, key: str) -> bytes | None:
        raise ConnectionError("down")

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        raise OSError(28, "No space left on device")

    async def delete(self, key: str) -> None:
        raise ConnectionError("down")


class _Hanging(MemoryStorage):
    async def get(self, key: str) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await asyncio.Event().wait()

    async def delete(self, key: str) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("storage", [_Failing, _Hanging])
async def test_a_storage_that_fails_or_hangs_fails_no_request(
    storage: type[MemoryStorage], productlane: Productlane
) -> None:
    """With a dead storage the identity still comes, from Productlane; a full disk after its 200 is no error either."""
    async with asyncio.timeout(5), asking(productlane.url, Clock(), storage=storage()) as identities:
        known = await identities.lookup("support", A)
        again = await identities.lookup("support", A)
        productlane.status = 401
        refused = await identities.lookup("support", A, fresh=True)

    assert ("miss", "hit", "refused") == (known.result, again.result, refused.result)
