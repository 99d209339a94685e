"""The side of aiohttp-client-cache: each of its traps is shut."""

import asyncio
import json
import pickle
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.keys.answers import Answer, Answers, AnswerText, Entry
from gateway.keys.library import CachedSession
from gateway.keys.storage import MemoryStorage
from gateway.keys.store import MeCache, key_of
from tests.support.me_upstream import A, B, Clock, Productlane, asking, productlane_serving

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
    return MeCache(url, Answers(storage or MemoryStorage(), ttl=60, stale_if_error=0, clock=Clock()))


async def test_the_key_is_the_secret_that_asks() -> None:
    """Two secrets never share an entry."""
    keys = [cache().create_key("GET", ME, headers=bearer(secret)) for secret in (A, B)]

    assert [key_of(A, ME), key_of(B, ME)] == keys
    assert keys[0] != keys[1]


async def test_nothing_else_is_in_the_key() -> None:
    """No other header field makes another entry, so a request id cannot defeat the cache."""
    more = bearer(A) | {"X-Request-Id": "req_1", "Cache-Control": "no-cache", "Accept-Language": "de"}

    assert cache().create_key("GET", ME, headers=bearer(A)) == cache().create_key("GET", ME, headers=more)


async def test_the_key_does_not_tell_the_secret() -> None:
    """The name of an entry holds no part of the secret."""
    assert A.reveal() not in key_of(A, ME)
    assert A.preview not in key_of(A, ME)


def test_another_server_is_another_entry() -> None:
    """What a test server says of a secret is never taken for Productlane's word on it."""
    assert key_of(A, ME) != key_of(A, URL("https://other.test/api/v2/me"))


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
    me = URL(f"{productlane.url}/me")

    assert {key_of(A, me), key_of(B, me)} == set(values)
    for key, value in values.items():
        seal, _, text = value.partition(b" ")

        assert re.fullmatch(rb"[0-9a-f]{64}", seal)
        assert {"status", "content_type", "body", "fetched_at"} == set(json.loads(text))
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
    """Whoever can write to the storage cannot run code here: a pickle is a miss, even behind a true seal."""
    ran: list[str] = []
    _Evil.ran = ran
    storage = MemoryStorage()
    evil = pickle.dumps(_Evil())
    await put(storage, productlane, evil)
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        sealed = await identities.lookup("support", A)
    await storage.set(entry(productlane), evil, 60)
    productlane.asked.clear()
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        known = await identities.lookup("support", A)

    assert ([], "miss", "miss", 1) == (ran, sealed.result, known.result, len(productlane.asked))


class _Evil:
    ran: list[str] = []  # noqa: RUF012 - set by the test

    def __reduce__(self) -> Any:
        return _run, ()


def _run() -> None:
    _Evil.ran.append("code")


def entry(productlane: Productlane, secret: Any = A) -> Entry:
    """The name of a secret's entry for this server."""
    return key_of(secret, URL(f"{productlane.url}/me"))


async def put(storage: MemoryStorage, productlane: Productlane, text: bytes) -> None:
    """Store a text as if this gateway had: behind a true seal."""
    await storage.set(entry(productlane), entry(productlane).seal(text), 60)


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
        json.dumps(GOOD | {"fetched_at": 1002.0}).encode(),
        json.dumps(GOOD | {"fetched_at": 940.0}).encode(),
    ],
)
async def test_what_is_not_a_kept_answer_is_a_miss(value: bytes, productlane: Productlane) -> None:
    """Garbage, a wrong shape, another status, a time in the future or too old: Productlane is asked.

    Each stands behind a true seal, so it is not the seal that keeps it out.
    """
    storage = MemoryStorage()
    await put(storage, productlane, value)
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        known = await identities.lookup("support", A)

    assert ("miss", 1) == (known.result, len(productlane.asked))
    assert known.identity is not None
    assert "wks_1" == known.identity.workspace


async def test_a_poisoned_answer_is_a_miss(productlane: Productlane) -> None:
    """Without the secret nobody can make an answer that is believed: not by a seal of another, none, or a cut one."""
    me, storage = entry(productlane), MemoryStorage()
    wide = json.dumps(GOOD).encode()
    true = me.seal(wide)
    elsewhere = key_of(A, URL("https://other.test/api/v2/me")).seal(wide)
    forged = [wide, b" " + wide, b"0" * 64 + b" " + wide, true[:64] + b" " + wide + b" ", true[1:], elsewhere, b"\xff "]
    results = []
    for value in forged:
        await storage.set(me, value, 60)
        async with asking(productlane.url, Clock(), storage=storage) as identities:
            known = await identities.lookup("support", A)
            results.append((known.result, known.identity and known.identity.workspace))

    assert [("miss", "wks_1")] * len(forged) == results


async def test_a_true_answer_under_another_name_is_a_miss(productlane: Productlane) -> None:
    """Whoever swaps two entries gives neither secret the other's scopes."""
    storage = MemoryStorage()
    productlane.scopes = {A.reveal(): ["docs:read"], B.reveal(): ["admin"]}
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        await identities.lookup("support", A)
        await identities.lookup("support", B)
    a, b = entry(productlane), entry(productlane, B)
    await storage.set(a, kept(storage)[b], 60)
    async with asking(productlane.url, Clock(), storage=storage) as identities:
        known = await identities.lookup("support", A)

    assert known.identity is not None
    assert ("miss", ["docs:read"]) == (known.result, [*known.identity.scopes])


async def test_a_kept_answer_is_used(productlane: Productlane) -> None:
    """What another process or an earlier configuration has stored is a hit, with its true age."""
    storage = MemoryStorage()
    await put(storage, productlane, json.dumps(GOOD).encode())
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


def answer(body: bytes, fetched_at: float, asked_at: float) -> Answer:
    """An answer that was asked for at these readings of the shared clock and of this process's."""
    made = Answer.of("", body, fetched_at)
    made.asked_at = asked_at
    return made


async def test_what_was_asked_for_before_a_drop_is_never_read_again() -> None:
    """An answer that a slow storage still holds, or that arrives late, does not outlive `drop`."""
    clock, storage, key = Clock(), MemoryStorage(), key_of(A, ME)
    answers = Answers(storage, ttl=60, stale_if_error=60, clock=clock)
    answers.drop(key)
    clock.now += 1
    await answers.write(key, answer(b"before", 1000.0, 1000.0))
    before = (await answers.read(key), await answers.stale(key))
    await answers.write(key, answer(b"after", 1001.0, 1001.0))
    after = await answers.read(key)

    assert (None, None) == before
    assert after is not None
    assert b"after" == await after.read()


@pytest.mark.parametrize("step", [-86_400.0, -3_600.0, -30.0, 0.5, 30.0, 3_600.0, 86_400.0])
async def test_a_step_of_the_clock_does_not_change_how_old_an_answer_is(step: float) -> None:
    """Whatever the host's clock is set to, an answer that this process has met lasts as long as it would have."""
    clock, wall, key = Clock(), Clock(), key_of(A, ME)
    storage = MemoryStorage()
    ours = Answers(storage, ttl=60, stale_if_error=0, clock=clock, stamp=wall)
    theirs = Answers(storage, ttl=60, stale_if_error=0, clock=clock, stamp=wall)
    await ours.write(key, answer(b"{}", *ours.now()))
    met = await theirs.read(key)
    wall.now += step
    clock.now += 59
    wall.now += 59
    young = [await answers.read(key) for answers in (ours, theirs)]
    ages = [ours.age(one) for one in young if one is not None]
    clock.now += 1
    wall.now += 1
    old = [await answers.read(key) for answers in (ours, theirs)]

    assert met is not None
    assert [59.0, 59.0] == ages
    assert [None, None] == old


async def test_clocks_of_replicas_may_differ_a_little() -> None:
    """A replica whose clock is half a second ahead is believed; one that is minutes ahead or behind is not for long."""
    clock, key, storage = Clock(), key_of(A, ME), MemoryStorage()
    ages = []
    for ahead in (0.5, 1.0, 300.0, -30.0, -300.0):
        theirs = Answers(storage, ttl=60, stale_if_error=0, clock=clock, stamp=lambda by=ahead: clock() + by)  # type: ignore[misc]
        await theirs.write(key, answer(b"{}", *theirs.now()))
        ours = Answers(storage, ttl=60, stale_if_error=0, clock=clock, stamp=clock)
        found = await ours.read(key)
        ages.append(None if found is None else ours.age(found))

    assert [0.0, None, None, 30.0, None] == ages


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

    async def claim(self, key: str, seconds: float) -> bool:
        raise ConnectionError("down")

    async def delete(self, key: str) -> None:
        raise ConnectionError("down")


class _Hanging(MemoryStorage):
    async def get(self, key: str) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await asyncio.Event().wait()

    async def claim(self, key: str, seconds: float) -> bool:
        await asyncio.Event().wait()
        return True

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
