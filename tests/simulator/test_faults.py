"""Faults as a client meets them on the wire."""

import asyncio
from typing import Any

import aiohttp
import pytest

from gateway.simulator import Act
from tests.support.simulated import SECRET, Client, running


async def raw(client: Client, path: str = "/tags") -> bytes:
    """All bytes of one answer, until the simulator closes."""
    host, port = client.simulator.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET /api/v2{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_a_fault_strikes_its_endpoint_so_many_times() -> None:
    """Other endpoints are untouched, HEAD is matched as GET, and afterwards all is well."""
    async with running() as client:
        client.simulator.fault("GET /threads/{thread_id}", count=2, status=500)
        asked = [
            ("GET", "/threads"),
            ("GET", "/threads/thread_1"),
            ("HEAD", "/threads/thread_1"),
            ("GET", "/threads/thread_1"),
        ]
        statuses = [(await client(method, path)).status for method, path in asked]

    assert [200, 500, 500, 200] == statuses


async def test_an_internal_error_has_the_envelope_and_spends_nothing() -> None:
    """500 `internal_error` looks like any other error; the key's budget is shown as it was."""
    async with running() as client:
        client.simulator.fault(status=500, count=1)
        failed, fine = await client("GET", "/tags"), await client("GET", "/tags")

    assert (500, "internal_error") == (failed.status, failed.code)
    assert failed.headers["X-Request-Id"] == failed.json["error"]["request_id"]
    assert ("100000", "99999") == tuple(one.headers["X-RateLimit-Remaining"] for one in (failed, fine))


async def test_a_fault_can_say_what_it_likes() -> None:
    """Status, code, message, details and headers, for every request, of unknown paths and without a key as well."""
    async with running() as client:
        client.simulator.fault(
            status=429, code="rate_limited", message="Slow.", details={"limit": 1}, headers={"Retry-After": "7"}
        )
        answered = await client("GET", "/nowhere", secret=None)

    error = answered.json["error"]
    assert (429, "7") == (answered.status, answered.headers["Retry-After"])
    assert ("rate_limited", "Slow.", {"limit": 1}) == (error["code"], error["message"], error["details"])


async def test_a_host_in_front_may_answer_html() -> None:
    """A fault's body is sent as HTML with its status."""
    async with running() as client:
        client.simulator.fault(status=503, body="<h1>Down</h1>")
        answered = await client("GET", "/tags")

    assert (503, b"<h1>Down</h1>") == (answered.status, answered.body)
    assert answered.headers["Content-Type"].startswith("text/html")


async def test_a_close_comes_before_any_byte() -> None:
    """The connection ends without a head."""
    async with running() as client:
        client.simulator.fault(act=Act.CLOSE, count=1)
        got = await raw(client)
        outcome = client.simulator.arrivals.latest()[0].outcome
        again = await client("GET", "/tags")

    assert (b"", "broken", 200) == (got, outcome, again.status)


async def test_a_malformed_head_is_no_http() -> None:
    """The simulator sends bytes that no parser takes, and closes."""
    async with running() as client:
        client.simulator.fault(act=Act.MALFORMED)
        got = await raw(client)
        with pytest.raises(aiohttp.ClientResponseError):
            await client("GET", "/tags")

    assert b"HTTP/1.1 OK 200 \r\nthis is no header field\r\n\r\n" == got


async def test_a_cut_ends_mid_body_in_good_order() -> None:
    """So many bytes of the body, then the end of the connection, which a client takes for an error."""
    async with running() as client:
        client.simulator.fault("GET /tags", act=Act.CUT, after=10)
        _, _, body = (await raw(client)).partition(b"\r\n\r\n")
        with pytest.raises(aiohttp.ClientPayloadError):
            await client("GET", "/tags")

    assert b'{"data":[{' == body


async def test_a_reset_is_a_tcp_reset() -> None:
    """The client sees the connection reset, not its end."""
    async with running() as client:
        client.simulator.fault(act=Act.RESET, after=0)
        with pytest.raises(ConnectionResetError):
            await raw(client)


async def test_a_stalled_body_goes_on_when_the_faults_are_cleared() -> None:
    """Head and half of the body come, the rest once the fault is over, and the answer is whole."""
    async with running() as client:
        whole = (await client("GET", "/tags")).body
        client.simulator.fault(act=Act.STALL)
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with client.session.get(client.simulator.url + "/tags", headers=headers) as answer:
            first = await answer.content.readexactly(len(whole) // 2)
            pending = client.simulator.arrivals.latest()[-1].outcome
            client.simulator.faults.clear()
            rest = await answer.content.read()

    assert "pending" == pending
    assert whole == first + rest


async def test_silence_ends_after_its_time() -> None:
    """Nothing comes until the time is over; then the answer does."""
    async with running() as client:
        client.simulator.fault(act=Act.SILENCE, seconds=0.05)
        client.simulator.fault(act=Act.CLOSE)
        answered = await client("GET", "/tags")

    assert 200 == answered.status


async def test_a_client_that_leaves_is_noticed() -> None:
    """The record says that the request was abandoned, and nothing waits for it any longer."""
    async with running() as client:
        client.simulator.fault(act=Act.SILENCE)
        asking = asyncio.create_task(client("GET", "/tags"))
        async with asyncio.timeout(10):
            await client.simulator.received(1)
            asking.cancel()
            await client.simulator.arrivals.until(lambda arrivals: arrivals.latest()[0].outcome != "pending")

    assert "abandoned" == client.simulator.arrivals.latest()[0].outcome


async def test_a_stop_lets_go_of_what_is_held() -> None:
    """An answer that a fault holds back is sent before the simulator stops."""
    async with running() as client:
        client.simulator.fault(act=Act.SILENCE)
        asking = asyncio.create_task(client("GET", "/tags"))
        async with asyncio.timeout(10):
            await client.simulator.received(1)
            await client.simulator.stop()
            answered = await asking

    assert 200 == answered.status


async def test_a_delay_comes_before_the_head() -> None:
    """The answer is not there before its delay is over."""
    async with running() as client:
        client.simulator.fault(delay=0.05)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await client("GET", "/tags")
        took = loop.time() - started

    assert took >= 0.045


@pytest.mark.parametrize(
    "parts",
    [
        {"endpoint": "GET /nothing"},
        {"count": -1},
        {"status": 99},
        {"body": "x"},
        {"act": "explode"},
        {"delay": -1},
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(parts: dict[str, Any]) -> None:
    """It is an error when it is put in force, and nothing is in force after."""
    async with running() as client:
        with pytest.raises(ValueError, match=r"."):
            client.simulator.fault(**parts)
        answered = await client("GET", "/tags")

    assert 200 == answered.status
