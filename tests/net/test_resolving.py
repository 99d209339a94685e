"""An upstream with a name: changed addresses are followed, and a failing resolver affects few requests."""

import asyncio
import contextlib
import socket
import ssl
import statistics
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.core.breaker import FAILURES
from gateway.net.addresses import FRESH, Entry
from tests.support.deadline import eventually
from tests.support.in_process import Running, policy, running
from tests.support.raw_caller import Response
from tests.support.recording import Upstream, answer

NAME = "productlane.test"
OTHER = "127.0.0.2"


class Records:
    """A resolver's answers: the addresses of every name, or its fault. ``asked`` are the look-ups."""

    def __init__(self) -> None:
        self.places = ["127.0.0.1"]
        self.fault: int | None = None
        self.asked: list[str] = []

    def lookup(self, host: str, port: None, **options: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if self.fault is not None:
            raise socket.gaierror(self.fault, "x")
        return [entry for place in self.places for entry in socket.getaddrinfo(place, port, **options)]


def proving(authority: trustme.CA, name: str = NAME) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
async def named(authority: trustme.CA) -> AsyncIterator[Upstream]:
    """An upstream on 127.0.0.1 that is `NAME` and proves it, and closes each connection after its answer."""
    upstream = Upstream()
    upstream.reply = answer(fields=("Connection: close",))
    await upstream.start(ssl=proving(authority))
    upstream.url = upstream.url.replace("127.0.0.1", NAME)
    yield upstream
    await upstream.stop()


@pytest.fixture
async def run(tmp_path: Path, named: Upstream, records: Records) -> AsyncIterator[Running]:
    settings = {"ca": str(tmp_path / "ca.pem")}
    async with running(tmp_path / "run", named, upstream=settings, lookup=records.lookup) as run:
        yield run


def port_of(upstream: Upstream) -> int:
    return int(upstream.url.split(":")[2].split("/")[0])


def known(run: Running) -> Entry:
    """What the gateway knows of the name."""
    return run.gateway.parts.facts.factory._upstream_names._entry(NAME)


async def post(run: Running) -> Response:
    return await run.ask("POST", "/api/v2/threads", body=b"{}")


def error_of(response: Response) -> str:
    return str(response.get("proxy-status")).partition("error=")[2].partition(";")[0]


async def test_one_look_up_is_for_all(run: Running, records: Records) -> None:
    """Requests and `/me` share the addresses of a name, which is looked up once."""
    statuses = [(await run.ask()).status for _ in range(3)]

    assert [200] * 3 == statuses
    assert 3 + 1 == run.upstream.connections
    assert [NAME] == records.asked
    assert 1 == await run.metric("name_lookups_total", use="upstream", result="ok")


async def test_a_steady_caller_keeps_the_name_fresh(run: Running, records: Records) -> None:
    """A gateway that makes no new connection for an hour still knows where to make one when the resolver then fails."""
    run.upstream.reply = answer()
    await run.ask()
    connections = run.upstream.connections
    known(run)._found -= FRESH
    await run.ask()

    async def asked() -> bool:
        return records.asked == [NAME] * 2

    await eventually(asked)
    assert connections == run.upstream.connections


@pytest.mark.parametrize("fault", [socket.EAI_AGAIN, socket.EAI_NONAME])
async def test_a_name_that_stops_resolving_goes_on_serving(run: Running, records: Records, fault: int) -> None:
    """New connections use the last known address; the log has one event for the failure and one for the recovery."""
    await run.ask()
    entry = known(run)
    records.fault = fault
    entry._found -= 10 * FRESH
    statuses = [(await post(run)).status for _ in range(5)]
    (reported,) = await run.events("name_unresolved", use="upstream")
    records.fault = None

    async def resolved() -> bool:
        statuses.append((await post(run)).status)
        return not entry.fault

    await eventually(resolved)
    await run.events("name_resolves", use="upstream")

    assert {200} == set(statuses)
    assert 10 * FRESH <= reported["seconds"] < 11 * FRESH
    assert "warning" == reported["level"]
    assert 1 == len(await run.events("name_unresolved"))
    assert 1 <= await run.metric("name_lookups_total", use="upstream", result="error")


async def test_a_name_that_never_resolved_is_a_502(run: Running, records: Records) -> None:
    """Callers get the error at once, reads are not repeated, and the circuit stays closed.

    As soon as the name resolves, requests are served.
    """
    records.fault = socket.EAI_NONAME
    refused = [await run.ask(), *[await post(run) for _ in range(FAILURES + 1)]]
    records.fault = None

    async def served() -> bool:
        return (await run.ask()).status == 200

    await eventually(served)

    assert {(502, "upstream_unreachable")} == {(one.status, one.code) for one in refused}
    assert {"dns_error"} == {error_of(one) for one in refused}
    assert "no such name" in str(refused[0].get("proxy-status"))
    assert 0 == await run.metric("upstream_retries_total")
    assert len(refused) <= await run.metric("upstream_failures_total", error="dns_error")
    (reported,) = await run.events("name_unresolved")
    assert "seconds" not in reported


async def test_a_changed_record_is_followed(run: Running, records: Records, authority: trustme.CA) -> None:
    """Once the name leads elsewhere, so do new connections, without a restart."""
    await run.ask()
    moved = Upstream()
    server = await asyncio.start_server(moved._serve, OTHER, port_of(run.upstream), ssl=proving(authority))
    records.places = [OTHER]
    known(run)._found -= FRESH

    async def there() -> bool:
        await post(run)
        return bool(moved.arrivals)

    try:
        await eventually(there)
    finally:
        server.close()
        await moved.stop()


async def test_an_address_that_refuses_costs_no_request(run: Running, records: Records) -> None:
    """If one of several addresses accepts no connection, the next one is used, for writes too."""
    records.places = [OTHER, "127.0.0.1"]
    statuses = [(await post(run)).status for _ in range(3)]

    assert [200] * 3 == statuses
    assert 0 == await run.metric("upstream_retries_total")


@pytest.fixture
def hole(named: Upstream) -> Iterator[None]:
    """An address that takes no connection and refuses none: its queue of one is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((OTHER, port_of(named)))
        listening.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((OTHER, port_of(named)))
        yield


@pytest.mark.usefixtures("hole")
async def test_an_address_that_swallows_costs_a_moment_once(run: Running, records: Records) -> None:
    """The next address is tried beside one that is silent after 250 ms, and before it from then on."""
    records.places = [OTHER, "127.0.0.1"]
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(6):
        began = loop.time()
        assert (await post(run)).status == 200
        times.append(loop.time() - began)

    assert 0.2 <= times[0] < 1.0
    # Each would take 250 ms; a pause of a busy machine is seldom in three of five.
    assert statistics.median(times[1:]) < 0.2


async def test_an_address_that_breaks_off_is_left_for_another(run: Running, records: Records) -> None:
    """A host that takes connections and hangs up in the handshake is behind the others for the next connection."""
    taken = 0

    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        writer.transport.abort()

    records.places = [OTHER, "127.0.0.1"]
    server = await asyncio.start_server(hang_up, OTHER, port_of(run.upstream))
    async with server:
        statuses = [(await run.ask()).status, *[(await post(run)).status for _ in range(3)]]

    assert [200] * 4 == statuses
    assert 1 == await run.metric("upstream_retries_total", reason="connect")
    # The `/me` request does not share that knowledge, and tries them in their order.
    assert 1 <= taken <= 2


async def test_a_name_that_leads_to_another_host_gets_nothing(
    tmp_path: Path, records: Records, authority: trustme.CA
) -> None:
    """A host that is not the upstream sees no byte of a request; once it proves to be it, it is used without a restart.

    The metric names the reason.
    """
    host = Upstream()
    context = proving(authority, "another.test")
    await host.start(ssl=context)
    host.url = host.url.replace("127.0.0.1", NAME)
    try:
        settings = {"ca": str(tmp_path / "ca.pem")}
        async with running(tmp_path / "run", host, upstream=settings, lookup=records.lookup) as run:
            refused = [await run.ask(), *[await post(run) for _ in range(3)]]
            received = bytes(host.received)
            authority.issue_cert(NAME).configure_cert(context)
            mended = await post(run)
            failures = await run.metric("upstream_failures_total", error="tls_certificate_error")
            reported = await run.metric("upstream_failures_total")
    finally:
        await host.stop()

    assert [(502, "tls_certificate_error")] * 4 == [(one.status, error_of(one)) for one in refused]
    assert b"" == received
    assert 200 == mended.status
    assert 4 == failures == reported


async def test_the_issuers_name_is_told_apart(tmp_path: Path, upstream: Upstream, records: Records) -> None:
    """That the issuer of callers' tokens cannot be found is counted and logged as that, not as an upstream's outage."""
    records.fault = socket.EAI_AGAIN
    pod = policy("pod") | {"authenticate": {"kubernetes": ["billing/api"]}}
    kubernetes = {"issuer": "https://cluster.test", "audience": "gateway"}
    async with running(
        tmp_path, upstream, policies=[pod], callers={"kubernetes": kubernetes}, lookup=records.lookup
    ) as run:
        await run.events("name_unresolved", use="issuer", reason="the resolver fails, or cannot be reached")

        assert ["cluster.test"] == records.asked
        assert 1 == await run.metric("name_lookups_total", use="issuer", result="error")
        assert 1 == await run.metric("name_lookups_total")
