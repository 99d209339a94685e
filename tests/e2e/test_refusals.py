"""Every refusal that there is, met by a real caller: who refused, why, and the fix, wherever somebody may look."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from gateway.core.breaker import FAILURES
from gateway.core.refusal import Code
from tests.support.command import run as command
from tests.support.documents import section
from tests.support.in_process import Running, policy
from tests.support.issuer import AUDIENCE, Signer, claims_of
from tests.support.raw_caller import Response, head
from tests.support.recording import Arrival, answer, error

Start = Callable[..., Awaitable[Running]]
Provoked = tuple[Running, Response]
Provoke = Callable[[Start, pytest.MonkeyPatch], Awaitable[Provoked]]

PROVOKE: dict[Code, Provoke] = {}
# The refusals that `explain` foresees, each with the method and path that meets it.
FORESEEN: Final = {
    Code.INVALID_REQUEST: ("GET", "/threads/"),
    Code.SCOPE_REQUIRED: ("GET", "/companies"),
    Code.FORBIDDEN: ("GET", "/threads/th_1"),
    Code.NOT_FOUND: ("GET", "/threds"),
    Code.METHOD_NOT_ALLOWED: ("PUT", "/threads"),
    Code.UNSUPPORTED_API_VERSION: ("GET", "/api/v1/threads/th_1"),
    Code.URI_TOO_LONG: ("GET", "/threads?q=" + "x" * 9000),
}
POLICY: Final = policy(scopes=["threads:read", "threads:write"], deny=["GET /threads/{id}"])


def provokes(code: Code) -> Callable[[Provoke], Provoke]:
    """The function brings about a refusal with this code."""

    def kept(provoke: Provoke) -> Provoke:
        PROVOKE[code] = provoke
        return provoke

    return kept


def foreseen(code: Code) -> None:
    method, path = FORESEEN[code]

    @provokes(code)
    async def ask(start: Start, _: pytest.MonkeyPatch) -> Provoked:
        run = await start(policies=[POLICY])
        return run, await run.ask(method, path if path.startswith("/api/") else f"/api/v2{path}")


for foreseen_code in FORESEEN:
    foreseen(foreseen_code)


def sent(code: Code, data: bytes, **settings: Any) -> None:
    @provokes(code)
    async def send(start: Start, _: pytest.MonkeyPatch) -> Provoked:
        run = await start(**settings)
        return run, await run.raw(data)


BIG: Final = head("POST", "/api/v2/threads", "Content-Length: 2000")
sent(Code.UNAUTHENTICATED, head(token=None))
sent(Code.UNSUPPORTED_KEY_VERSION, head(token="pl_v1_0123456789abcdef"))
sent(Code.EXPECTATION_FAILED, head("GET", "/api/v2/threads", "Expect: a miracle"))
sent(Code.HEADERS_TOO_LARGE, head("GET", "/api/v2/threads", *(f"X-{number}: x" for number in range(200))))
sent(Code.VERSION_NOT_SUPPORTED, head().replace(b"HTTP/1.1", b"HTTP/2.0"))
sent(Code.LOOP_DETECTED, head("GET", "/api/v2/threads", "Via: 1.1 productlane-gateway"))
sent(Code.PAYLOAD_TOO_LARGE, BIG, limits={"body": {"write": "1KiB"}})
sent(Code.REQUEST_TIMEOUT, head()[:-10], limits={"head_timeout": "200ms"})


def answered(code: Code, reply: Any, **settings: Any) -> None:
    @provokes(code)
    async def ask(start: Start, _: pytest.MonkeyPatch) -> Provoked:
        run = await start(**settings)
        run.upstream.reply = reply
        return run, await run.ask("POST", body=b"{}")


def silence(_arrival: Arrival, _writer: asyncio.StreamWriter) -> None:
    """Never answers."""


def drops(_arrival: Arrival, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


answered(Code.UPSTREAM_BROKEN, b"this is not HTTP\r\n\r\n")
answered(Code.UPSTREAM_KEY_REJECTED, error(401, "unauthenticated"))
answered(Code.UPSTREAM_KEY_UNSUPPORTED, error(410, "unsupported_key_version"))
answered(Code.UPSTREAM_TIMEOUT, silence, upstream={"response_timeout": "200ms"})


@provokes(Code.UPSTREAM_UNREACHABLE)
async def nobody_listens(start: Start, _: pytest.MonkeyPatch) -> Provoked:
    run = await start()
    await run.upstream.stop()
    return run, await run.ask()


@provokes(Code.CIRCUIT_OPEN)
async def an_outage_that_lasts(start: Start, _: pytest.MonkeyPatch) -> Provoked:
    run = await start()
    run.upstream.reply = drops
    for _number in range(FAILURES):
        await run.ask("POST", body=b"{}")
    return run, await run.ask("POST", body=b"{}")


@provokes(Code.RATE_LIMITED)
async def more_than_the_policy_allows(start: Start, _: pytest.MonkeyPatch) -> Provoked:
    run = await start(policies=[policy(limits={"reads_per_minute": 1})])
    await run.ask()
    return run, await run.ask()


@provokes(Code.OVERLOADED)
async def one_connection_too_many(start: Start, _: pytest.MonkeyPatch) -> Provoked:
    run = await start(limits={"connections": 1})
    await run.connect()
    return run, await (await run.connect()).response()


@provokes(Code.ISSUER_UNAVAILABLE)
async def an_issuer_that_is_down(start: Start, _: pytest.MonkeyPatch) -> Provoked:
    url = "https://127.0.0.1:1"
    pod = policy("pod") | {"authenticate": {"kubernetes": ["billing/billing-api"]}}
    run = await start(callers={"kubernetes": {"issuer": url, "audience": AUDIENCE}}, policies=[pod])
    return run, await run.ask(token=Signer("k").sign(claims_of(url)))


@provokes(Code.INTERNAL_ERROR)
async def a_fault_of_the_gateway(start: Start, monkeypatch: pytest.MonkeyPatch) -> Provoked:
    run = await start()

    async def fails(*_: Any) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr("gateway.proxy.handler.Handler._pass", fails)
    return run, await run.ask()


@provokes(Code.DRAINING)
async def an_end_that_does_not_wait(start: Start, _: pytest.MonkeyPatch) -> Provoked:
    run = await start(drain={"delay": "0ms", "timeout": "100ms"})
    run.upstream.reply = silence
    caller = await run.connect()
    await caller.send(head())
    await run.upstream.until(lambda: bool(run.upstream.arrivals))
    ended = asyncio.create_task(run.gateway.drain(asyncio.Event()))
    response = await caller.response()
    await ended
    return run, response


async def logged(run: Running, request_id: str) -> dict[str, Any]:
    """The log's line of a request, once it is written."""
    count = 1
    while True:
        lines = await run.lines(count)
        found = [line for line in lines if line["request_id"] == request_id]
        if found:
            return found[0]
        count = len(lines) + 1


@pytest.mark.parametrize("code", Code)
async def test_a_refusal_says_who_why_and_what_to_do(code: Code, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body names what decided and the fix, its message ends in the fix, and header and log have the same words."""
    run, response = await PROVOKE[code](start, monkeypatch)

    assert (code.status, code) == (response.status, response.code)
    told = response.json["error"]
    gateway = told["details"]["gateway"]
    why, _, fix = gateway["fix"].rpartition("; ")
    assert why
    assert told["message"].lower().endswith(f" {fix}.".lower())
    assert gateway["decided_by"]
    details = re.search(r'details="(.*)"', str(response.get("proxy-status")))
    assert details is not None
    assert gateway["fix"].encode("ascii", "replace").decode() == details[1].replace("\\", "")
    assert told["request_id"] == response.get("x-gateway-request-id")
    retry = response.get("retry-after")
    assert (retry is not None) == ("Retry-After" in code.when)
    line = await logged(run, told["request_id"])
    assert (gateway["fix"], code, "gateway") == (line["note"], line["code"], line["source"])
    assert f"| `{code.value}` |" in section("What a caller sees")


@pytest.mark.parametrize("code", FORESEEN)
async def test_explain_says_what_the_gateway_says(code: Code, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """`explain` answers with the sentence of the refusal's body, the same setting and the same fix."""
    run, response = await PROVOKE[code](start, monkeypatch)
    method, path = FORESEEN[code]
    config = run.folder / "gateway.yaml"
    done = await command("explain", "--caller", "app", method, path, "--config", config, "--json")

    told = response.json["error"]
    assert 1 == done.status
    assert (told["details"]["gateway"]["fix"], told["details"]["gateway"]["decided_by"]) == (
        done.json["fix"],
        done.json["decided_by"],
    )
    assert told["message"].startswith(done.json["message"])
    assert (code, response.status) == (done.json["code"], done.json["status"])


async def budget_spent(start: Start, **pacing: Any) -> Provoked:
    """The answer to a read of a key whose budget Productlane says is spent."""
    run = await start(pacing=pacing)
    left = ("X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 0", f"X-RateLimit-Reset: {time.time() + 50:.0f}")
    run.upstream.reply = answer(fields=left)
    await run.ask()
    return run, await run.ask()


async def no_connection(start: Start) -> Provoked:
    """The answer to a read for which no connection to Productlane gets free."""
    run = await start(upstream={"max_connections": 1})
    run.upstream.reply = silence
    caller = await run.connect()
    await caller.send(head())
    await run.upstream.until(lambda: bool(run.upstream.arrivals))
    return run, await run.ask()


@pytest.mark.parametrize(
    ("provoke", "code", "decided_by", "fix"),
    [
        (lambda start: budget_spent(start, max_wait="0s"), "rate_limited", "key main, read budget: 1000 a minute",
         r"send it again in \d+ s; for more, give caller `app` a key of its own or raise its `weight`"),
        (lambda start: budget_spent(start, max_queue=0, max_wait="2m"), "overloaded", "pacing.max_queue: 0",
         "send fewer requests at a time, give the caller a key of its own, or raise `pacing.max_queue`"),
        (no_connection, "overloaded", "upstream.max_connections: 1",
         "send fewer requests at a time, or raise `upstream.max_connections`"),
    ],
    ids=["budget", "queue", "connections"],
)  # fmt: skip
async def test_a_full_gateway_names_the_setting(
    provoke: Callable[[Start], Awaitable[Provoked]], code: str, decided_by: str, fix: str, start: Start
) -> None:
    """One code has several causes: each names its own setting with its value, and what would change it."""
    _, response = await provoke(start)

    gateway = response.json["error"]["details"]["gateway"]
    assert (code, decided_by) == (response.code, gateway["decided_by"])
    assert re.search(rf"; {fix}$", gateway["fix"])
    assert response.get("retry-after")


def test_no_refusal_is_left_out() -> None:
    """There is a provocation for every code, so a new one has to be met here too."""
    assert set(Code) == set(PROVOKE)
