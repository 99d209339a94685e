"""`gateway.proxy.upstream`: connections are shared, trusted, limited in number, and nothing is sent twice that acts."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.schema.upstream import Upstream as Settings
from gateway.core.network_faults import NetworkFault
from gateway.core.refusal import Code, Refused
from gateway.net.resolver import Names
from gateway.proxy.upstream import Upstream as Leg
from gateway.proxy.upstream_messages import Outgoing
from gateway.telemetry import labels
from tests.support.deadline import DEADLINE
from tests.support.in_process import Running, running
from tests.support.ports import free_port
from tests.support.raw_caller import Response, head
from tests.support.recording import Arrival, Upstream, answer

Start = Callable[..., Any]


def dies_on(*numbers: int) -> Callable[[Arrival, asyncio.StreamWriter], None]:
    """An upstream that answers, but drops the connection on the requests with these numbers, from 1."""
    count = 0

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count in numbers:
            writer.transport.abort()
        else:
            writer.write(answer())

    return reply


async def test_a_connection_is_used_again(run: Running) -> None:
    """Callers on several connections share one to the upstream, if they ask one after another."""
    for _ in range(5):
        await run.ask()

    # One more for the question about the key.
    assert 2 == run.upstream.connections


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_read_is_sent_once_more_when_a_kept_connection_was_dead(run: Running, method: str) -> None:
    """A caller does not notice that the upstream gave up a connection just as it was used again."""
    run.upstream.reply = dies_on(2)
    await run.ask()
    response = await run.ask(method, "/api/v2/threads?n=2")

    assert 200 == response.status
    assert [b"/api/v2/threads", *[b"/api/v2/threads?n=2"] * 2] == [arrival.target for arrival in run.upstream.arrivals]
    assert 1 == await run.metric("upstream_retries_total", reason="closed")


async def test_a_read_is_sent_once_more_and_no_more(run: Running) -> None:
    """If the upstream closes on every request, the gateway tries twice and then answers with an error."""
    run.upstream.reply = dies_on(*range(10))
    response = await run.ask()

    assert (502, "upstream_broken") == (response.status, response.code)
    assert 2 == len(run.upstream.arrivals)


@pytest.mark.parametrize(("method", "body"), [("POST", b"{}"), ("PATCH", b"{}"), ("DELETE", None), ("POST", b"")])
async def test_a_write_is_never_sent_twice(run: Running, method: str, body: bytes | None) -> None:
    """A request that may have taken effect is never repeated, on a kept connection or a new one."""
    run.upstream.reply = dies_on(1, 3)
    target = "/api/v2/threads" if method == "POST" else "/api/v2/threads/t_1"
    fresh = await run.ask(method, target, body=body)
    await run.ask()
    kept = await run.ask(method, target, body=body)

    assert [(502, "upstream_broken")] * 2 == [(response.status, response.code) for response in (fresh, kept)]
    assert [method, "GET", method] == [arrival.method for arrival in run.upstream.arrivals]
    assert 0 == await run.metric("upstream_retries_total")


async def test_a_read_that_was_half_answered_is_not_repeated(run: Running) -> None:
    """Once a byte of the answer has come, sending again could answer twice."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 2")
        writer.close()

    run.upstream.reply = reply
    response = await run.ask()

    assert (502, "upstream_broken") == (response.status, response.code)
    assert 1 == len(run.upstream.arrivals)


async def test_repeats_do_not_double_an_outage(run: Running) -> None:
    """When nearly every read fails, the upstream gets little more than all requests: a tenth more, and ten."""

    def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        # One answer in ten keeps the circuit closed, which would end the repeats by itself.
        if arrival.target.endswith(b"9"):
            writer.write(answer())
        else:
            writer.transport.abort()

    run.upstream.reply = reply
    for number in range(60):
        await run.ask("GET", f"/api/v2/threads?n={number}")

    assert 60 + 10 <= len(run.upstream.arrivals) <= 60 + 10 + 6 + 1


async def test_a_full_pool_answers_503_in_time(start: Start) -> None:
    """With every connection in use a request waits shortly, then learns when to come again; a freed one is used."""
    run = await start(upstream={"max_connections": 1})
    release = asyncio.Event()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(answer())

    run.upstream.reply = reply
    holding = asyncio.create_task(run.ask("GET", "/api/v2/threads?n=1"))
    await run.upstream.until(lambda: run.upstream.arrivals)
    refused = await run.ask("GET", "/api/v2/threads?n=2")
    waiting = asyncio.create_task(run.ask("GET", "/api/v2/threads?n=3"))
    release.set()

    assert (503, "overloaded", "1") == (refused.status, refused.code, refused.get("retry-after"))
    assert "max_connections" in str(refused.get("proxy-status"))
    assert [200, 200] == [(await holding).status, (await waiting).status]
    assert b"n=2" not in run.upstream.received
    assert 1 == [line["upstream_ms"] for line in await run.lines(3)].count(None)


async def test_a_pool_survives_every_way_to_end(start: Start) -> None:
    """No failure, refusal or departure keeps a connection's place: afterwards as many fit as before."""
    run = await start(
        upstream={"max_connections": 1, "response_timeout": "200ms"}, limits={"body": {"write": "100KiB"}}
    )
    run.upstream.reply = dies_on(*range(100))
    await run.ask()
    await run.ask("POST", body=b"{}")
    run.upstream.reply = run.upstream.hang
    await run.ask()
    leaver = await run.connect()
    asked = len(run.upstream.arrivals)
    await leaver.send(head())
    await run.upstream.until(lambda: len(run.upstream.arrivals) > asked)
    await leaver.close()
    await run.upstream.until(lambda: run.upstream.open == 0)
    run.upstream.reply = b"HTTP/1.1 200 X\r\nTransfer-Encoding: nonsense\r\n\r\n"
    await run.ask()
    caller = await run.connect()
    await caller.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked") + b"30000\r\n" + b"x" * 0x30000)
    await caller.response()
    run.upstream.reply = answer()

    assert 200 == (await run.ask()).status


async def test_a_refused_connection_is_a_502(tmp_path: Path, upstream: Upstream) -> None:
    """The caller learns that the upstream is unreachable, but not its address."""
    upstream.url = f"http://127.0.0.1:{free_port()}/api/v2"
    async with running(tmp_path, upstream) as run:
        response = await run.ask()

        assert (502, "upstream_unreachable") == (response.status, response.code)
        assert "error=connection_refused" in str(response.get("proxy-status"))
        assert upstream.url.split(":")[2][:5].encode() not in response.head + response.body


async def test_a_name_that_does_not_resolve_is_a_502(tmp_path: Path, upstream: Upstream) -> None:
    """The error for an unknown name differs from the error for an upstream that is down."""
    upstream.url = "https://productlane.invalid/api/v2"
    async with running(tmp_path, upstream) as run:
        response = await run.ask("POST", body=b"{}")

        assert (502, "upstream_unreachable") == (response.status, response.code)
        assert "error=dns_error" in str(response.get("proxy-status"))


async def test_an_upstream_that_does_not_begin_to_answer_is_a_504(start: Start) -> None:
    """After `response_timeout` reads and writes both fail, and a read is not sent again."""
    run = await start(upstream={"response_timeout": "200ms"})
    run.upstream.reply = run.upstream.hang
    read, write = await run.ask(), await run.ask("POST", body=b"{}")

    assert [(504, "upstream_timeout")] * 2 == [(response.status, response.code) for response in (read, write)]
    assert ["GET", "POST"] == [arrival.method for arrival in run.upstream.arrivals]
    await run.upstream.until(lambda: run.upstream.open == 0)


async def test_a_replaced_upstream_still_keeps_time(upstream: Upstream) -> None:
    """A request that waited for budget while a change of configuration closed its upstream keeps deadlines."""
    leg = Leg(Settings(url=upstream.url, response_timeout=0.2, max_connections=1), None, names=Names())
    (await leg.send(Outgoing("GET", b"/threads"))).close()
    await leg.close()
    upstream.reply = upstream.hang
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(Refused) as refused:
            await leg.send(Outgoing("GET", b"/threads"))

    assert Code.UPSTREAM_TIMEOUT is refused.value.code


class Asked(Names):
    """Names that are noted as they are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = asyncio.Event()

    def keep(self, host: str) -> None:
        assert "127.0.0.1" == host
        self.kept.set()


async def test_the_name_of_an_upstream_that_is_asked_is_kept(upstream: Upstream) -> None:
    """While requests go, the name is looked up again as it is due, although connections to it are there."""
    names = Asked()
    leg = Leg(Settings(url=upstream.url), None, names=names)
    for _ in range(2):
        names.kept.clear()
        (await leg.send(Outgoing("GET", b"/threads"))).close()
        async with asyncio.timeout(DEADLINE):
            await names.kept.wait()
    await leg.close()


async def test_a_dribbled_head_does_not_put_the_time_off(start: Start) -> None:
    """An upstream that sends interim answers and single bytes for ever is given up after `response_timeout`."""
    run = await start(upstream={"response_timeout": "300ms", "idle_timeout": "10s"})

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: ")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    run.upstream.reply = reply
    response = await run.ask()

    assert (504, "upstream_timeout") == (response.status, response.code)


async def test_an_upstream_that_takes_no_connection_is_a_504(tmp_path: Path, upstream: Upstream) -> None:
    """A black hole costs `connect_timeout`: here one that accepts and never answers the TLS handshake."""
    mute = Upstream()
    mute.before_body = mute.hang
    silent = await asyncio.start_server(mute._serve, "127.0.0.1", 0)
    upstream.url = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}/api/v2"
    try:
        async with running(tmp_path, upstream, upstream={"connect_timeout": "200ms"}) as run:
            response = await run.ask()

            assert (504, "upstream_timeout") == (response.status, response.code)
            assert "error=connection_timeout" in str(response.get("proxy-status"))
    finally:
        silent.close()
        await mute.stop()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
    """TLS of a server with a certificate for this name that is valid for so many more days."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=datetime.now(UTC) + timedelta(days=days)).configure_cert(context)
    return context


async def through_tls(
    folder: Path, upstream: Upstream, context: ssl.SSLContext, trusted: trustme.CA | None
) -> tuple[Response, str, float]:
    """The answer with an upstream of this TLS, the error in Proxy-Status, and its count."""
    await upstream.start(ssl=context)
    settings = {}
    if trusted is not None:
        trusted.cert_pem.write_to_path(str(folder / "ca.pem"))
        settings = {"ca": str(folder / "ca.pem")}
    try:
        async with running(folder / "run", upstream, upstream=settings) as run:
            response = await run.ask("POST", "/api/v2/threads", body=b"private")
            found = str(response.get("proxy-status")).partition("error=")[2].partition(";")[0]
            return response, found, await run.metric("upstream_failures_total", error=found)
    finally:
        await upstream.stop()


async def test_a_ca_of_ones_own_is_trusted(tmp_path: Path, authority: trustme.CA) -> None:
    """With `upstream.ca` the gateway reaches an upstream with a certificate of a private authority, for `/me` too."""
    upstream = Upstream()
    response, _, _ = await through_tls(tmp_path, upstream, server_tls(authority), authority)

    assert 200 == response.status
    assert 1 == len(upstream.arrivals)
    assert 1 == len(upstream.lookups)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("self-signed", "tls_certificate_error"),
        ("wrong name", "tls_certificate_error"),
        ("expired", "tls_certificate_error"),
        ("old version", "destination_unavailable"),  # such a server hangs up without an alert
    ],
)
async def test_an_upstream_that_cannot_prove_itself_gets_nothing(
    tmp_path: Path, authority: trustme.CA, fault: str, expected: str
) -> None:
    """A server with an invalid certificate or old TLS gets no byte of a request."""
    context = server_tls(authority)
    if fault == "wrong name":
        context = server_tls(authority, "productlane.example")
    elif fault == "expired":
        context = server_tls(authority, days=-1)
    elif fault == "old version":
        with pytest.deprecated_call():
            context.minimum_version = ssl.TLSVersion.TLSv1_1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    upstream = Upstream()
    trusted = None if fault == "self-signed" else authority
    response, found, counted = await through_tls(tmp_path, upstream, context, trusted)

    assert (502, "upstream_unreachable") == (response.status, response.code)
    assert expected == found
    assert counted == 1
    assert b"" == upstream.received
    assert 0 == upstream.connections


def test_every_failure_has_its_name_in_the_metric() -> None:
    """No reason why Productlane gave no answer is counted as ``other``."""
    assert {fault.value for fault in NetworkFault} == set(labels.FAILURES)


async def test_an_upstream_that_comes_back_is_used_at_once(tmp_path: Path, upstream: Upstream) -> None:
    """Nothing has to be restarted after an outage: the next request finds the upstream again."""
    port = free_port()
    upstream.url = f"http://127.0.0.1:{port}/api/v2"
    async with running(tmp_path, upstream) as run:
        down = await run.ask()
        late = Upstream()
        server = await asyncio.start_server(late._serve, "127.0.0.1", port)
        try:
            up = await run.ask("POST", body=b"{}")
        finally:
            server.close()
            await late.stop()

        assert [502, 200] == [down.status, up.status]


async def test_a_frozen_upstream_costs_only_what_was_in_flight(start: Start) -> None:
    """Connections that hang are given up when their time is over and never used again; new requests go through."""
    run = await start(upstream={"response_timeout": "300ms"})
    hung: set[int] = set()

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        if b"hang" in arrival.target:
            hung.add(id(writer))
            await run.upstream.hang(arrival, writer)
        else:
            assert id(writer) not in hung
            writer.write(answer())

    run.upstream.reply = reply
    frozen = await asyncio.gather(*(run.ask("GET", f"/api/v2/threads?hang={n}") for n in range(5)))
    thawed = [await run.ask() for _ in range(5)]

    assert [504] * 5 == [response.status for response in frozen]
    assert [200] * 5 == [response.status for response in thawed]
