"""Answers through aiohttp-client-cache: its traps are shut, and nothing in a store is believed unless it is ours."""

import asyncio
import json
import pickle
import re
from typing import Any

import pytest
from aiohttp_client_cache.response import CachedResponse
from yarl import URL

from gateway.core.secret import Secret
from gateway.keys.cached import MeAnswers, name_of
from gateway.keys.store import BestEffortStore
from gateway.telemetry.events.keys import StoreFault
from tests.support.clock import Clock
from tests.support.me_upstream import A, B, Productlane, asking, me_settings
from tests.support.stores import BrokenStore, MemoryStore, SilentStore

UPSTREAM = "https://productlane.test/api/v2"
ME = URL(f"{UPSTREAM}/me")


def answers(storage: MemoryStore, upstream: str = UPSTREAM) -> MeAnswers:
    return MeAnswers(me_settings(upstream), BestEffortStore(storage), A, float("-inf"))


def sealed(name: str, text: bytes, secret: Secret = A) -> bytes:
    """A text as this gateway stores it under a name."""
    return secret.seal(name.encode() + b"\0" + text).encode() + b" " + text


def test_the_name_is_of_the_secret_that_asks() -> None:
    """Two secrets never share an entry, and its name contains no part of the secret."""
    assert name_of(A, ME) != name_of(B, ME)
    assert A.reveal() not in name_of(A, ME)
    assert A.preview not in name_of(A, ME)


def test_another_server_is_another_entry() -> None:
    """An answer of another server about a secret is never used for Productlane's."""
    assert name_of(A, ME) != name_of(A, URL("https://other.test/api/v2/me"))


async def test_a_hit_is_the_librarys_own(productlane: Productlane) -> None:
    """One request through the library's session is answered from the store; Productlane hears of it once."""
    storage, url = MemoryStore(), URL(f"{productlane.url}/me")
    found = []
    for _ in range(2):
        async with (
            answers(storage, productlane.url).session() as session,
            session.get(url, headers=bearer(A)) as response,
        ):
            found.append((isinstance(response, CachedResponse), await response.json()))

    assert [(False, productlane.identity(A.reveal())), (True, productlane.identity(A.reveal()))] == found
    assert 1 == len(productlane.asked)


def bearer(secret: Secret) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret.reveal()}"}


async def test_nothing_secret_is_stored(productlane: Productlane) -> None:
    """An entry has status, content type, body and time: no key, request header, cookie or pickle."""
    storage = MemoryStore()
    productlane.headers = {"Set-Cookie": "session=for-one-only", "X-Request-Id": "req_0123456789abcdef"}
    async with asking(productlane.url, Clock(), store=storage) as identities:
        await identities.lookup("support", A)
        await identities.lookup("support", B)
    values = storage.entries
    me = URL(f"{productlane.url}/me")

    assert {name_of(A, me), name_of(B, me)} == set(values)
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
    """A body that contains the key is neither stored nor given to a caller."""
    storage = MemoryStore()
    body = productlane.identity(A.reveal()) | {"key": A.reveal()}
    productlane.body = json.dumps(body).encode()
    async with asking(productlane.url, Clock(), store=storage) as identities:
        known = await identities.lookup("support", A)

    assert (None, "error") == (known.identity, known.result)
    assert {} == storage.entries


async def test_a_stored_pickle_is_never_loaded(productlane: Productlane) -> None:
    """Write access to the storage does not allow running code here: a pickle is a miss, even behind a valid seal."""
    ran: list[str] = []
    _Evil.ran = ran
    storage = MemoryStore()
    evil = pickle.dumps(_Evil())
    await put(storage, productlane, evil)
    async with asking(productlane.url, Clock(), store=storage) as identities:
        sealed = await identities.lookup("support", A)
    await storage.set(entry(productlane), evil, 60)
    productlane.asked.clear()
    async with asking(productlane.url, Clock(), store=storage) as identities:
        known = await identities.lookup("support", A)

    assert ([], "miss", "miss", 1) == (ran, sealed.result, known.result, len(productlane.asked))


class _Evil:
    ran: list[str] = []  # noqa: RUF012 - set by the test

    def __reduce__(self) -> Any:
        return _run, ()


def _run() -> None:
    _Evil.ran.append("code")


def entry(productlane: Productlane, secret: Secret = A) -> str:
    """The name of a secret's entry for this server."""
    return name_of(secret, URL(f"{productlane.url}/me"))


async def put(storage: MemoryStore, productlane: Productlane, text: bytes) -> None:
    """Store a text as if this gateway had: behind a true seal."""
    await storage.set(entry(productlane), sealed(entry(productlane), text), 60)


GOOD: dict[str, Any] = {
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

    Each has a valid seal, so another check must refuse it.
    """
    storage = MemoryStore()
    await put(storage, productlane, value)
    async with asking(productlane.url, Clock(), store=storage) as identities:
        known = await identities.lookup("support", A)

    assert ("miss", 1) == (known.result, len(productlane.asked))
    assert known.identity is not None
    assert "wks_1" == known.identity.workspace


async def test_a_poisoned_answer_is_a_miss(productlane: Productlane) -> None:
    """An entry without a valid seal is ignored: the seal of another secret, none, or a cut one."""
    me, storage = entry(productlane), MemoryStore()
    wide = json.dumps(GOOD).encode()
    true = sealed(me, wide)
    elsewhere = sealed(name_of(A, URL("https://other.test/api/v2/me")), wide)
    forged = [wide, b" " + wide, b"0" * 64 + b" " + wide, true[:64] + b" " + wide + b" ", true[1:], elsewhere, b"\xff "]
    results = []
    for value in forged:
        await storage.set(me, value, 60)
        async with asking(productlane.url, Clock(), store=storage) as identities:
            known = await identities.lookup("support", A)
            results.append((known.result, known.identity and known.identity.workspace))

    assert [("miss", "wks_1")] * len(forged) == results


async def test_a_true_answer_under_another_name_is_a_miss(productlane: Productlane) -> None:
    """Swapping two entries gives neither secret the other's scopes."""
    storage = MemoryStore()
    productlane.scopes = {A.reveal(): ["docs:read"], B.reveal(): ["admin"]}
    async with asking(productlane.url, Clock(), store=storage) as identities:
        await identities.lookup("support", A)
        await identities.lookup("support", B)
    a, b = entry(productlane), entry(productlane, B)
    await storage.set(a, storage.entries[b], 60)
    async with asking(productlane.url, Clock(), store=storage) as identities:
        known = await identities.lookup("support", A)

    assert known.identity is not None
    assert ("miss", ["docs:read"]) == (known.result, [*known.identity.scopes])


async def test_a_kept_answer_is_used(productlane: Productlane) -> None:
    """What another process or an earlier configuration has stored is a hit, with its true age."""
    storage = MemoryStore()
    await put(storage, productlane, json.dumps(GOOD).encode())
    clock = Clock()
    async with asking(productlane.url, clock, store=storage) as identities:
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
    storage = MemoryStore()
    body = json.dumps(json.loads(GOOD["body"]) | {"ünïcode": "☃"}, ensure_ascii=False).encode()
    fields = ((b"Content-Type", b"application/json; charset=utf-8"),)
    await answers(storage).write("", CachedResponse("GET", "OK", 200, ME, "HTTP/1.1", body=body, raw_headers=fields))
    again = await answers(storage).read("")

    assert again is not None
    assert (200, body, {"Content-Type": "application/json; charset=utf-8"}) == (
        again.status,
        await again.read(),
        dict(again.headers),
    )


async def test_an_answer_from_before_it_was_forgotten_is_not_read_again(productlane: Productlane) -> None:
    """An answer that a slow replica or store brings back after `forget` counts for nothing, not even as stale."""
    storage, clock = MemoryStore(), Clock()
    async with asking(productlane.url, clock, store=storage) as identities:
        await identities.lookup("support", A)
        before = dict(storage.entries)
        clock.now += 1
        identities.forget(A)
        await identities._me._aside.join()
        storage.entries |= before
        again = await identities.lookup("support", A)
        identities.forget(A)
        await identities._me._aside.join()
        storage.entries |= before
        productlane.status = 500
        stale = await identities.lookup("support", A)

    assert ("miss", "error", 3) == (again.result, stale.result, len(productlane.asked))


@pytest.mark.parametrize(
    ("ahead", "found"), [(0.5, ("hit", 0.0)), (1.0, None), (300.0, None), (-30.0, ("hit", 30.0)), (-300.0, None)]
)
async def test_clocks_of_replicas_may_differ_a_little(
    ahead: float, found: tuple[str, float] | None, productlane: Productlane
) -> None:
    """An entry from a clock half a second ahead is used; one from minutes ahead or behind is used only briefly.

    An entry from the future is reported as a fault of the store.
    """
    storage, clock, faults = MemoryStore(), Clock(), list[Any]()
    async with asking(productlane.url, clock, store=storage, wall=lambda: clock() + ahead) as theirs:
        await theirs.lookup("support", A)
    async with asking(productlane.url, clock, store=storage, store_emit=faults.append) as ours:
        known = await ours.lookup("support", A)

    assert (found or ("miss", 0.0)) == (known.result, known.age)
    assert ([StoreFault("", "read", "an answer from the future", True)] if ahead >= 1 else []) == faults


async def test_a_shared_store_is_never_listed_or_emptied() -> None:
    """The library never removes the entries of others from a shared storage."""
    storage = MemoryStore()
    storage.entries["another's"] = b"1"
    question = answers(storage)
    await question.bulk_delete({"another's"})

    assert (False, 0) == (await question.contains("another's"), await question.size())
    assert {"another's": b"1"} == storage.entries


async def test_cookies_are_not_replayed(productlane: Productlane) -> None:
    """A cookie of one answer is neither kept nor sent with the next question."""
    productlane.headers = {"Set-Cookie": "session=for-one-only; Path=/"}
    storage, clock = MemoryStore(), Clock()
    # A name, since cookie jars do not take cookies of addresses by themselves.
    url = productlane.url.replace("127.0.0.1", "localhost")
    for _ in range(2):
        async with asking(url, clock, store=storage) as identities:
            await identities.lookup("support", A)
            await identities.lookup("support", A, fresh=True)

    assert [None] * 3 == [request.headers.get("Cookie") for request in productlane.asked]
    assert not any(b"for-one-only" in value for value in storage.entries.values())


@pytest.mark.parametrize("header", ["no-store", "max-age=0", "max-age=5"])
async def test_cache_control_has_no_say(header: str, productlane: Productlane) -> None:
    """Nothing that Productlane answers shortens or lengthens how long the answer is kept."""
    productlane.headers = {"Cache-Control": header, "Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}
    storage, clock = MemoryStore(), Clock()
    for _ in range(3):
        async with asking(productlane.url, clock, store=storage) as identities:
            await identities.lookup("support", A)
        clock.now += 19

    assert 1 == len(productlane.asked)


@pytest.mark.parametrize("store", [None, MemoryStore()], ids=["memory", "store"])
async def test_an_identity_that_repeats_a_key_of_ours_is_none(
    store: MemoryStore | None, productlane: Productlane
) -> None:
    """A key in the answer, of this gateway and however JSON writes it, is neither kept nor shown to anybody."""
    async with asking(productlane.url, Clock(), store=store) as identities:
        identities.secrets.hold((A, B))
        fields = productlane.identity(A.reveal())
        for text, secret in (("note", A), ("note", B), ("workspace_id", B)):
            body = json.dumps(fields | {text: f"x{secret.reveal()}"})
            productlane.body = body.replace("pl_v2_", "\\u0070l_v2\\u005f").encode()
            known = await identities.lookup("support", A, fresh=True)

            assert (None, "error") == (known.identity, known.result)
            identities.forget(A)
            await identities._me._aside.join()
            identities.entries.put(A.fingerprint, None)  # type: ignore[arg-type]
    assert not store or {} == store.entries


@pytest.mark.parametrize("storage", [BrokenStore, SilentStore])
async def test_a_storage_that_fails_or_hangs_fails_no_request(
    storage: type[BrokenStore], productlane: Productlane
) -> None:
    """Without a working storage the identity comes from Productlane; a full disk after its 200 is not an error."""
    store = storage()
    async with asyncio.timeout(5), asking(productlane.url, Clock(), store=store) as identities:
        known = await identities.lookup("support", A)
        again = await identities.lookup("support", A)
        productlane.status = 401
        refused = await identities.lookup("support", A, fresh=True)
    if isinstance(store, SilentStore):
        store.released.set()

    assert ("miss", "hit", "refused") == (known.result, again.result, refused.result)
