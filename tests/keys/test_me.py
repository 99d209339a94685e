"""One request to `GET /me`: what is sent, and what each answer means."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import RawTestServer, unused_port

from gateway.core.key_faults import KeyFault
from gateway.keys.me import MAX_BODY, Me
from gateway.keys.me_values import Fault, Good, Refusal
from gateway.keys.store import BestEffortStore
from tests.support.me_upstream import A, Productlane, me_settings
from tests.support.stores import MemoryStore

NEVER, ALWAYS = float("-inf"), float("inf")


@pytest.fixture(params=["memory", "store"], autouse=True)
def kind(request: pytest.FixtureRequest) -> str:
    """Each promise is tested with a plain session and with the library's, which a store uses."""
    KIND.append(request.param)
    return str(request.param)


KIND: list[str] = []


@asynccontextmanager
async def me(url: str, storage: MemoryStore | None = None, **more: Any) -> AsyncIterator[Me]:
    store = None if KIND[-1] == "memory" and storage is None else BestEffortStore(storage or MemoryStore())
    asker = Me(me_settings(url, store=store, **more))
    try:
        yield asker
    finally:
        await asker.close()


def answers(storage: MemoryStore) -> int:
    """How many answers are stored; beside them are the claims of those who ask."""
    return sum(not name.endswith(":asked") for name in storage.entries)


async def ask(url: str, **more: Any) -> Good | Refusal | Fault:
    async with me(url, **more) as asker:
        return await asker.ask(A, newer_than=NEVER)


@asynccontextmanager
async def raw(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that reads a request head and then does with the connection what the test chose."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v2"


async def test_the_question_holds_what_we_say_and_nothing_else(productlane: Productlane) -> None:
    """`/me` is requested by GET with the key, our name and `Via`; aiohttp adds no header."""
    await ask(productlane.url)
    request = productlane.asked[0]

    assert ("GET", "/api/v2/me") == (request.method, request.raw_path)
    assert {
        "Host": productlane.url.split("/")[2],
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "productlane-gateway",
        "Via": "1.1 productlane-gateway",
        "Authorization": f"Bearer {A.reveal()}",
        "Connection": "close",
    } == dict(request.headers)


async def test_an_identity_is_good(productlane: Productlane) -> None:
    """A 200 with an identity is returned whole and unchanged."""
    outcome = await ask(productlane.url)

    assert isinstance(outcome, Good)
    assert productlane.identity(A.reveal()) == outcome.identity.body
    assert (0.0, False) == (outcome.age, outcome.kept)


@pytest.mark.parametrize(("status", "fault"), [(401, KeyFault.REJECTED), (410, KeyFault.UNSUPPORTED)])
async def test_a_refusal_names_the_fault(status: int, fault: KeyFault, productlane: Productlane) -> None:
    """401 and 410 say that the secret is not taken, whatever the body."""
    productlane.status = status

    assert Refusal(fault) == await ask(productlane.url)


@pytest.mark.parametrize("status", [201, 204, 403, 404, 409, 429, 500, 502, 503])
async def test_any_other_status_teaches_nothing(status: int, productlane: Productlane) -> None:
    """No other status is taken for an identity or for a refusal."""
    productlane.status = status

    assert Fault(f"status {status}") == await ask(productlane.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int, productlane: Productlane) -> None:
    """The key is sent to the upstream's `/me` only, never to a redirect's target."""
    productlane.status, productlane.headers = status, {"Location": f"{productlane.url}/elsewhere"}

    assert Fault(f"status {status}") == await ask(productlane.url)
    assert ["/api/v2/me"] == [request.raw_path for request in productlane.asked]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>maintenance</html>",
        b"null",
        b"{}",
        b'{"scopes": "threads:read", "workspace_id": "w", "api_key_id": "k"}',
        b'{"scopes": [], "workspace_id": 1, "api_key_id": "k"}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        gzip.compress(b'{"scopes": [], "workspace_id": "w", "api_key_id": "k"}', mtime=0),
    ],
)
async def test_a_body_that_is_no_identity_teaches_nothing(body: bytes, productlane: Productlane) -> None:
    """A 200 from a maintenance page or a stranger is not an identity and is not kept."""
    productlane.body = body
    storage = MemoryStore()

    assert Fault("the answer is not an identity") == await ask(productlane.url, storage=storage)
    assert 0 == answers(storage)


async def test_a_compressed_body_is_not_unpacked(productlane: Productlane) -> None:
    """The request accepts no compression, and a compressed answer cannot expand in memory."""
    productlane.headers = {"Content-Encoding": "gzip"}
    productlane.body = gzip.compress(json.dumps(productlane.identity(A.reveal())).encode())

    assert Fault("the answer is not an identity") == await ask(productlane.url)


async def test_a_large_body_is_not_read(productlane: Productlane) -> None:
    """An answer beyond 256 kB is given up, not gathered in memory."""
    fields = productlane.identity(A.reveal())
    padding = MAX_BODY - len(json.dumps(fields | {"padding": ""}))
    productlane.body = json.dumps(fields | {"padding": " " * padding}).encode()
    at_the_limit = await ask(productlane.url)
    productlane.body = json.dumps(fields | {"padding": " " * (padding + 1)}).encode()
    beyond = await ask(productlane.url)

    assert isinstance(at_the_limit, Good)
    assert Fault("the answer is cut short, too large or not HTTP") == beyond


async def test_an_endless_body_is_given_up() -> None:
    """An answer without end costs no more than one of 256 kB."""
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        try:
            while sent < 100 * MAX_BODY:
                writer.write(b" " * 65_536)
                sent += 65_536
                await writer.drain()
        except ConnectionError:
            return

    async with raw(endless) as url:
        outcome = await ask(url)

    assert Fault("the answer is cut short, too large or not HTTP") == outcome


@pytest.mark.parametrize(
    ("text", "pause"),
    [("", 1.0), ("0", 1.0), ("5", 5.0), ("86400", 60.0), ("-5", 1.0), ("soon", 1.0), ("9" * 400, 1.0)],
)
async def test_a_wish_to_be_left_alone_is_heeded(text: str, pause: float, productlane: Productlane) -> None:
    """`Retry-After` says how long not to ask again, at least a second and at most a minute."""
    productlane.status, productlane.headers = 429, {"Retry-After": text}

    assert Fault("status 429", pause) == await ask(productlane.url)


async def test_nobody_there() -> None:
    """A refused connection is a fault with a name."""
    assert Fault("the connection was refused") == await ask(f"http://127.0.0.1:{unused_port()}/api/v2")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "the connection broke"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is cut short, too large or not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "the answer is cut short, too large or not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", "the answer is cut short, too large or not HTTP"),
    ],
)
async def test_a_broken_answer_is_a_fault(said: bytes, why: str) -> None:
    """Whatever comes instead of an HTTP answer, nothing is raised."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with raw(say) as url:
        assert Fault(why) == await ask(url)


async def test_silence_ends_at_the_time_out(productlane: Productlane) -> None:
    """A server that accepts and never answers is given up."""
    productlane.gate.clear()

    assert Fault("no answer in time") == await ask(productlane.url, timeout=0.05)


async def test_an_untrusted_certificate_gets_no_key() -> None:
    """A server with an untrusted certificate never gets the key; with trust, the same server answers."""
    asked: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request)
        return web.json_response({"scopes": [], "workspace_id": "w", "api_key_id": "k"})

    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    distrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    server = RawTestServer(answer, scheme="https")
    await server.start_server(ssl=serving)
    try:
        refused = await ask(str(server.make_url("/api/v2")), ssl=distrusting)
        reached = len(asked)
        taken = await ask(str(server.make_url("/api/v2")), ssl=trusting)
    finally:
        await server.close()

    assert (Fault("its TLS certificate is not trusted"), 0) == (refused, reached)
    assert isinstance(taken, Good)


async def test_proxy_variables_are_ignored(productlane: Productlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment cannot send the key by way of somebody else."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")

    assert isinstance(await ask(productlane.url), Good)


async def test_after_closing_nothing_is_asked(productlane: Productlane) -> None:
    """A late look-up after the end is answered, and opens nothing."""
    async with me(productlane.url) as asker:
        pass

    assert Fault("closed") == await asker.ask(A, newer_than=ALWAYS)
    assert [] == productlane.asked


async def test_what_is_refused_is_not_kept(productlane: Productlane) -> None:
    """Once Productlane refuses a secret, its old answer is deleted and never served stale."""
    storage = MemoryStore()
    async with me(productlane.url, storage=storage) as asker:
        await asker.ask(A, newer_than=NEVER)
        kept = answers(storage)
        productlane.status = 401
        await asker.ask(A, newer_than=ALWAYS)
        stale = await asker.stale(A, newer_than=NEVER)

    assert (1, None, 0) == (kept, stale, answers(storage))
