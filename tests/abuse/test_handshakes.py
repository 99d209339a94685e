"""TLS connections that never finish their handshake, against a real `serve`, by somebody who has no credential."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certs import ID, Authority
from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import counted, opened, resident
from tests.support.in_process import policy
from tests.support.raw_caller import Caller, ask, head
from tests.support.recording import Upstream
from tests.support.served import Served, serving
from tests.support.tls import House, spiffe_policy

# A record header of TLS and the beginning of a ClientHello that never ends.
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
MOST = 40
CALLERS = {"trusted_spiffe_domain": "cluster.local"}
POLICIES = [policy(), spiffe_policy("pod")]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
async def served(tmp_path: Path, upstream: Upstream, house: House) -> AsyncIterator[Served]:
    """A gateway that serves HTTPS to at most `MOST` connections, a fifth of them from one address."""
    limits = {"connections": MOST, "connections_per_address": MOST // 5, "handshake_timeout": "2s"}
    async with serving(tmp_path, upstream, limits=limits, tls=house.tls, callers=CALLERS, policies=POLICIES) as served:
        yield served


async def connect(served: Served, context: ssl.SSLContext, source: str = "127.0.0.1") -> Caller:
    return await served.connect(ssl=context, server_hostname="localhost", local_addr=(source, 0))


async def asked(served: Served, context: ssl.SSLContext, source: str = "127.0.0.1") -> int:
    """The status of an honest request over a new connection."""
    async with asyncio.timeout(DEADLINE):
        return (await ask(await connect(served, context, source), head())).status


async def finish(caller: Caller) -> None:
    """Wait for the gateway to close, and close."""
    await caller.closed()
    await caller.close()


def distrust(served: Served) -> None:
    """A caller that does not trust the certificate of the gateway, and says so in an alert."""
    host, _, port = served.traffic.rpartition(":")
    opened = socket.create_connection((host, int(port)), timeout=DEADLINE)
    with opened, pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(opened, server_hostname="localhost")


@pytest.mark.parametrize("said", [b"", HALF_HELLO], ids=["silent", "half a hello"])
async def test_handshakes_that_do_not_end_are_counted_and_end(said: bytes, served: Served, house: House) -> None:
    """Of 150 connections that begin no TLS, or do not go on with it, an address holds its cap; all end in time.

    An honest caller of another address is served meanwhile, and one of the same address afterwards.
    """
    context = house.client()
    assert 200 == await asked(served, context)
    held = [await opened(served, said) for _ in range(150)]

    assert [200] * 5 == [await asked(served, context, "127.0.0.2") for _ in range(5)]
    assert not await counted(served, 'limits_reached_total{limit="connections_per_address"} 0')
    async with asyncio.timeout(DEADLINE):
        for one in held:
            await one.closed()
    assert 200 == await asked(served, context)
    assert await counted(served, 'limits_reached_total{limit="handshake_timeout"}')


async def test_handshakes_leave_room_for_connections(served: Served, house: House) -> None:
    """Handshakes of many addresses take a part of the places: where it is full, the one that has waited longest goes.

    A connection that is open stays, and new ones are made.
    """
    context = house.client()
    open_before = await connect(served, context)
    for number in range(3 * MOST):
        await opened(served, b"", local_addr=(f"127.0.0.{3 + number % 20}", 0))

    assert [200] * 5 == [await asked(served, context) for _ in range(5)]
    await open_before.send(head())
    assert 200 == (await open_before.response()).status
    assert await counted(served, 'limits_reached_total{limit="handshakes"}')


async def test_half_hellos_of_many_fit_into_the_memory(tmp_path: Path, upstream: Upstream, house: House) -> None:
    """However many connections are allowed, 1024 handshakes are under way at most, in less than 100 MB."""
    limits = {"connections": 10_000, "handshake_timeout": "60s"}
    async with serving(tmp_path, upstream, limits=limits, tls=house.tls, callers=CALLERS, policies=POLICIES) as served:
        assert 200 == await asked(served, house.client())
        before = resident(served)
        for number in range(1_200):
            await opened(served, HALF_HELLO, local_addr=(f"127.0.0.{3 + number % 4}", 0))
        await eventually(lambda: counted(served, f'limits_reached_total{{limit="handshakes"}} {1_200 - 1_024}'))
        assert 200 == await asked(served, house.client())
        grown = resident(served) - before

    assert 100 > grown


@pytest.mark.parametrize(
    "said",
    [b"\x16\x03\x01\x40\x00\x01\x00\x40\x01", b"\x16\x03\x01\x00\x01\x01\x16\x03\x01"],
    ids=["long", "hidden"],
)
async def test_a_hello_that_would_take_much_memory_is_refused(said: bytes, served: Served, house: House) -> None:
    """A ClientHello of more than 16 KiB, or whose first record does not tell its length, ends its connection."""
    for pieces in ([said], [said[:1], said[1:7], said[7:]]):
        attacker = await served.connect()
        for piece in pieces:
            await attacker.send(piece)
        await finish(attacker)
    assert await counted(served, 'tls_handshake_failures_total{reason="protocol"} 2')

    await served.until_said(b"CLIENT_HELLO_TOO_LONG")
    assert 200 == await asked(served, house.client())


async def test_a_dribbled_hello_gets_no_more_time(served: Served) -> None:
    """The time of a handshake counts from accepting, however its bytes come."""
    attacker = await opened(served, HALF_HELLO)

    async def dribble() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                attacker.writer.write(b"x")
                await asyncio.sleep(0.05)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(DEADLINE):
        await attacker.closed()
    dribbling.cancel()

    assert await counted(served, 'limits_reached_total{limit="handshake_timeout"} 1')


async def test_the_reason_of_a_failed_handshake_is_told(served: Served, house: House) -> None:
    """Each reason is counted apart, with one line that names the other end and OpenSSL's word for it."""
    stranger, expired = Authority().issue(ID), house.callers.issue(ID, lasts=60)
    unfit = house.callers.issue(ID, client=False)
    for identity in (stranger, expired, unfit):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            caller = await connect(served, house.client(identity))
            await caller.send(head())
            await finish(caller)
    await asyncio.to_thread(distrust, served)
    await finish(await opened(served, head()))
    await (await served.connect()).close()
    told = {"unknown_ca", "expired", "certificate", "not_accepted", "protocol", "closed"}
    for reason in told:
        await eventually(lambda: counted(served, f'tls_handshake_failures_total{{reason="{reason}"}} 1'))  # noqa: B023

    lines = [line for line in served.lines() if line.get("event") == "tls_handshake_failed"]
    assert told == {line["reason"] for line in lines}
    assert {"127.0.0.1"} == {line["peer"] for line in lines}
    assert all(line["error"] for line in lines if line["reason"] != "closed")


async def test_a_flood_of_failed_handshakes_writes_few_lines(served: Served) -> None:
    """Lines of a reason come once a second, with the number of those that were not written."""
    for _ in range(300):
        await finish(await opened(served, b"GET / HTTP/1.1\r\n\r\n"))
    await eventually(lambda: counted(served, 'tls_handshake_failures_total{reason="protocol"} 300'))

    assert len([line for line in served.lines() if line.get("event") == "tls_handshake_failed"]) < 30
