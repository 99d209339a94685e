"""Attacks on the admin listener of a real `serve`, by somebody who can reach it and has no credential."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.admin.connections import CONNECTIONS, HEAD_TIMEOUT, PER_ADDRESS
from tests.support.deadline import DEADLINE
from tests.support.honest import asks
from tests.support.in_process import policy
from tests.support.recording import Upstream
from tests.support.served import Served, serving

MB = 1 << 20


@pytest.fixture
async def served(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Served]:
    async with serving(tmp_path, upstream) as served:
        yield served


async def idle(served: Served, count: int, said: bytes = b"") -> list[asyncio.StreamWriter]:
    """So many connections to the admin listener that say this and no more."""
    writers = []
    for _ in range(count):
        caller = await served.connect(served.admin)
        with contextlib.suppress(ConnectionError):
            caller.writer.write(said)
            await caller.writer.drain()
        writers.append(caller.writer)
    return writers


async def all_is_served(served: Served) -> None:
    """Traffic, probe and scrape are answered as if nothing happened."""
    for _ in range(3):
        answers = [await served.ask(), await served.ask_admin("/readyz"), await served.ask_admin("/metrics")]

        assert [200, 200, 200] == [answer.status for answer in answers]


def resident(served: Served) -> int:
    """The memory of the process, in bytes."""
    return int(Path(f"/proc/{served.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: "], ids=["idle", "half a head"])
async def test_connections_that_wait_take_nobodys_place(said: bytes, served: Served) -> None:
    """Ten times as many connections as there are places: probes, scrapes and traffic are served, and few stay open."""
    await all_is_served(served)
    writers = await idle(served, 10 * PER_ADDRESS, said)
    await all_is_served(served)
    files = len(os.listdir(f"/proc/{served.process.pid}/fd"))  # noqa: PTH208 - at once
    counted = (await served.ask_admin("/metrics")).body.decode()
    for writer in writers:
        writer.close()

    assert files < CONNECTIONS + 64
    assert 'admin_connections_refused_total{scope="address"}' in counted


async def test_large_heads_cost_no_memory(served: Served) -> None:
    """500 heads of 56 kB that never end cost less than 40 MB, and none is kept longer than a head may take."""
    await all_is_served(served)
    before = resident(served)
    large = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
        b"X-%d: %b\r\n" % (n, b"x" * 3_500) for n in range(16)
    )
    writers = await idle(served, 500, large)
    grown = resident(served) - before
    await all_is_served(served)
    for writer in writers:
        writer.close()

    assert grown < 40 * MB


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
    caller.writer.close()


async def test_looking_at_the_status_slows_nobody(tmp_path: Path, upstream: Upstream) -> None:
    """With 300 policies and loops on the status, every request is answered by a deadline, and so is the status."""
    policies = [policy(), *(policy(f"caller-{n}", f"plgw_caller-{n:04d}-0123456789") for n in range(300))]
    async with serving(tmp_path, upstream, policies=policies) as served:
        stop = asyncio.Event()

        async def loop(path: str) -> int:
            count = 0
            while not stop.is_set():
                count += (await served.ask_admin(path)).status == 200
            return count

        loops = [asyncio.create_task(loop(path)) for path in ("/status", "/status.json", "/status")]
        async with asyncio.timeout(DEADLINE):
            statuses = await asks(served, 50)
        stop.set()
        shown = sum(await asyncio.gather(*loops))

    assert shown > 0
    assert {200} == statuses


@pytest.mark.parametrize("path", ["/status", "/status.json", "/metrics", "/readyz"])
async def test_a_page_of_the_web_cannot_read_it(path: str, served: Served) -> None:
    """A name of the web that leads to this machine (DNS rebinding) is answered with 421 and nothing else."""

    async def status(host: str) -> tuple[int, bytes]:
        caller = await served.connect(served.admin)
        await caller.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = await caller.response()
        await caller.close()
        return response.status, response.body

    foreign = await status("rebound.example:9090")
    ours = [await status(host) for host in ("localhost", "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "LOCALHOST")]

    assert 421 == foreign[0]
    assert b'"misdirected_request"' in foreign[1]
    assert [200] * 5 == [answer[0] for answer in ours]
