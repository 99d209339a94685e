"""Attacks on the admin listener of a real `serve`, by somebody who can reach it and has no credential."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from gateway.runtime.admin_listener import CONNECTIONS, HEAD_TIMEOUT, PER_ADDRESS
from tests.support.deadline import eventually
from tests.support.honest import asks, counted, opened, resident
from tests.support.in_process import policy
from tests.support.raw_caller import ask
from tests.support.recording import Upstream
from tests.support.served import Served, serving


async def idle(served: Served, count: int, said: bytes) -> None:
    """So many connections to the admin listener that say this and no more."""
    for _ in range(count):
        with contextlib.suppress(ConnectionError):
            caller = await opened(served, said, address=served.admin)
            await caller.writer.drain()


async def all_is_served(served: Served) -> None:
    """Traffic, probe and scrape are answered as if nothing happened."""
    for _ in range(3):
        answers = [await served.ask(), await served.ask_admin("/readyz"), await served.ask_admin("/metrics")]

        assert [200, 200, 200] == [answer.status for answer in answers]


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: "], ids=["idle", "half a head"])
async def test_connections_that_wait_take_nobodys_place(said: bytes, served: Served) -> None:
    """Ten times as many connections as there are places: probes, scrapes and traffic are served, and few stay open."""
    await all_is_served(served)
    await idle(served, 10 * PER_ADDRESS, said)
    await all_is_served(served)

    assert len(os.listdir(f"/proc/{served.process.pid}/fd")) < CONNECTIONS + 64  # noqa: PTH208 - at once
    assert await counted(served, 'admin_connections_refused_total{scope="address"}')


async def test_large_heads_cost_no_memory(served: Served) -> None:
    """500 heads of 56 kB that never end cost less than 15 MB."""
    await all_is_served(served)
    before = resident(served)
    fields = b"".join(b"X-%d: %b\r\n" % (n, b"x" * 3_500) for n in range(16))
    await idle(served, 500, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + fields)
    await all_is_served(served)

    assert resident(served) - before < 15


async def test_a_head_has_its_time(served: Served) -> None:
    """A connection that never finishes its head is closed by a deadline, however it dribbles."""
    caller = await served.connect(served.admin)
    head = iter(b"GET /" + b"a" * 1_000)
    async with asyncio.timeout(HEAD_TIMEOUT + 5):
        with contextlib.suppress(ConnectionError):
            while not caller.reader.at_eof():
                caller.writer.write(bytes([next(head)]))
                await caller.writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(caller.reader.read(1 << 16), 0.5)


async def test_looking_at_the_status_slows_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """Loops on the status of 300 policies get an answer now and then, and honest requests many more meanwhile."""
    policies = [policy(), *(policy(f"caller-{n}", f"plgw_caller-{n:04d}-0123456789") for n in range(300))]
    async with serving(tmp_path, upstream, policies=policies) as served:
        shown = 0

        async def loop(path: str) -> None:
            nonlocal shown
            while True:
                assert 200 == (await served.ask_admin(path)).status
                shown += 1

        loops = [asyncio.create_task(loop(path)) for path in ("/status", "/status.json", "/status")]
        await eventually(lambda: asyncio.sleep(0, shown >= 3))
        before = shown
        honest = await asks(served, 100)
        beside = shown - before
        await eventually(lambda: asyncio.sleep(0, shown > before + beside))
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    assert {200} == honest
    assert beside < 50


@pytest.mark.parametrize("path", ["/status", "/status.json", "/metrics", "/readyz"])
async def test_a_page_of_the_web_cannot_read_it(path: str, served: Served) -> None:
    """A name of the web that leads to this machine (DNS rebinding) is answered with 421 and nothing else."""

    async def status(host: str) -> tuple[int, bytes]:
        response = await ask(served.admin, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return response.status, response.body

    foreign = await status("rebound.example:9090")
    ours = [await status(host) for host in ("localhost", "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "LOCALHOST")]

    assert 421 == foreign[0]
    assert b'"misdirected_request"' in foreign[1]
    assert [200] * 5 == [answer[0] for answer in ours]
