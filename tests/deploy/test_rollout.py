"""A rolling update on one host: two generations of the real process behind a switch that acts like a Service."""

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.deadline import kill
from tests.support.deploy_tools import ROOT
from tests.support.ports import free_ports
from tests.support.simulated import SECRET, running

TOKEN = "plgw_for-the-rollout"
DEADLINE = 30


@dataclass
class Service:
    """Gives each new connection to one of its endpoints in turn, as kube-proxy does. What runs is not touched."""

    endpoints: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    port: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.endpoints[len(self.connections) % len(self.endpoints)]
        self.connections.append(port)
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(_pour(reader, onward), _pour(there, writer))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take connections on a port of loopback."""
        server = await asyncio.start_server(self, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class Generation:
    """One process of the gateway, as a pod runs it."""

    traffic: int
    admin: int
    process: Process

    async def status(self) -> int:
        """The status of /readyz; 0 without an answer."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.admin}/readyz") as answer,
            ):
                return answer.status
        except aiohttp.ClientError:
            return 0


@contextlib.asynccontextmanager
async def generation(folder: Path, upstream: str) -> AsyncIterator[Generation]:
    """A gateway that is ready."""
    traffic, admin = free_ports(2)
    config = {
        "listen": f"127.0.0.1:{traffic}",
        "admin": f"127.0.0.1:{admin}",
        "upstream": {"url": upstream},
        "keys": {"main": {"secrets": ["env:MAIN_KEY"]}},
        "routes": [{"path": "/**", "keys": ["main"]}],
        "drain": {"delay": "2s", "timeout": "10s"},
    }
    policy = {
        "caller": "app",
        "authenticate": {"tokens": [f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"]},
        "scopes": ["threads:read", "threads:write"],
    }
    place = folder / str(traffic)
    (place / "policies").mkdir(parents=True)
    (place / "gateway.yaml").write_text(yaml.safe_dump(config))
    (place / "policies" / "app.yaml").write_text(yaml.safe_dump(policy))
    command = ["-m", "gateway", "serve", "--config", str(place / "gateway.yaml"), "--log-level", "warning"]
    environ = {**os.environ, "MAIN_KEY": SECRET}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE
    )
    made = Generation(traffic, admin, process)
    try:
        async with asyncio.timeout(DEADLINE):
            while await made.status() != 200:
                await asyncio.sleep(0.02)
        yield made
    finally:
        await kill(process)


@dataclass
class Load:
    """Callers that never pause: each keeps one connection as long as it may, and mixes reads and writes."""

    port: int
    done: int = 0
    failures: list[str] = field(default_factory=list)
    over: bool = False

    async def caller(self) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=DEADLINE)
        ) as session:
            # aiohttp would send a lost GET again and so hide the loss.
            session._retry_connection = False
            while not self.over:
                await self._call(session, write=self.done % 4 == 0)

    async def _call(self, session: aiohttp.ClientSession, *, write: bool) -> None:
        url = f"http://127.0.0.1:{self.port}/api/v2/threads"
        body: Any = {"json": {"contact_email": "a@example.com", "title": "t", "text": "x" * 2000}} if write else {}
        try:
            async with session.request("POST" if write else "GET", url, **body) as answer:
                text = await answer.text()
                if answer.status >= 300:
                    self.failures.append(f"{answer.status} {text[:200]}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(repr(error))
        self.done += 1

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(DEADLINE):
            while not holds():
                await asyncio.sleep(0.01)


async def test_a_rolling_update_under_load_loses_nothing(tmp_path: Path) -> None:
    """While a new generation takes over, no request of 16 busy callers fails, and the old one ends by itself."""
    service = Service()
    async with running() as upstream, generation(tmp_path, upstream.simulator.url) as old, service.open():
        service.endpoints = [old.traffic]
        load = Load(service.port)
        callers = [asyncio.create_task(load.caller()) for _ in range(16)]
        try:
            await load.until(lambda: load.done > 200)
            async with generation(tmp_path, upstream.simulator.url) as new:
                # A rolling update with maxSurge: the new pod is ready before the old one gets SIGTERM. Endpoints
                # change later, so new connections still reach the one that drains.
                service.endpoints = [new.traffic, old.traffic]
                old.process.send_signal(signal.SIGTERM)
                done_before = load.done
                async with asyncio.timeout(DEADLINE):
                    while await old.status() != 503:
                        await asyncio.sleep(0.01)
                late = service.connections.count(old.traffic)
                await load.until(lambda: load.done > done_before + 200)
                late = service.connections.count(old.traffic) - late
                service.endpoints = [new.traffic]
                async with asyncio.timeout(DEADLINE):
                    status = await old.process.wait()
                ended = load.done
                await load.until(lambda: load.done > ended + 200)
                load.over = True
                await asyncio.gather(*callers)
        finally:
            for task in callers:
                task.cancel()

    assert [] == load.failures
    assert 0 == status
    assert late > 0
    assert service.connections.count(new.traffic) >= 16
