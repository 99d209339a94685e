"""A key that rotates under load: a simulated Productlane, the real command in front of it, and callers that go on."""

import asyncio
import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from gateway.simulator import Arrival, SimulatedKey, Simulator
from tests.support.command import Running, running
from tests.support.in_process import policy
from tests.support.simulated import NO_LIMITS, catalog

DEADLINE = 20.0
SCOPES = frozenset({"threads:read", "threads:write", "companies:read", "companies:write"})


def new_secret() -> str:
    return f"pl_v2_{secrets.token_hex(14)}"


def replace_file(path: Path, text: str) -> None:
    """Rename a new file over the old one."""
    new = path.with_name(f".{path.name}.new")
    new.touch(0o600)
    new.write_text(text + "\n")
    new.replace(path)


def overwrite(path: Path, text: str) -> None:
    """Write in place, in two halves."""
    with path.open("w") as stream:
        stream.write(text[:10])
        stream.flush()
        stream.write(text[10:])


@dataclass
class Stage:
    """All that plays. ``key_id`` is that of the secret that the file held last and that is good."""

    simulator: Simulator
    gateway: Running
    url: str
    admin: str
    file: Path
    secret: str
    failures: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    def mint(self, *, known: bool = True, workspace: str = "wks_demo", scopes: frozenset[str] = SCOPES) -> SimulatedKey:
        """A new key; Productlane knows it by default."""
        key = SimulatedKey(new_secret(), scopes, workspace)
        if known:
            self.simulator.keys.add(key)
        return key

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition on Productlane's requests is true."""
        async with asyncio.timeout(DEADLINE):
            await self.simulator.arrivals.until(lambda _: holds())

    async def until_shows(self, preview: str, state: str) -> None:
        """Wait until the gateway's status shows a secret in a state."""
        async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://{self.admin}/status.json") as answer:
                    slots = [slot for key in (await answer.json())["keys"] for slot in key["slots"]]
                if any(slot["preview"] == preview and slot["state"] == state for slot in slots):
                    return
                await asyncio.sleep(0.02)

    @property
    def forwarded(self) -> list[Arrival]:
        """The callers' requests as they reached Productlane; the gateway's own questions left out."""
        return [one for one in self.simulator.arrivals.latest() if not one.target.endswith("/me")]

    def used(self, key: SimulatedKey) -> bool:
        return any(one.key_id == key.api_key_id for one in reversed(self.forwarded))

    async def promoted(self, key: SimulatedKey, write: Callable[[Path, str], None]) -> float:
        """Write a good secret and wait until requests come with it; the seconds that took."""
        began = time.perf_counter()
        await asyncio.to_thread(write, self.file, key.secret)
        await self.until(lambda: self.used(key))
        return time.perf_counter() - began

    def without_one_key(self) -> list[Arrival]:
        """Every request, questions included, that did not come with exactly one key."""
        return [
            one
            for one in self.simulator.arrivals.latest()
            if len(one.header("Authorization")) != 1 or not one.header("Authorization")[0].startswith("Bearer pl_v2_")
        ]


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Productlane with one key and a gateway that has it in a file."""
    first = SimulatedKey(new_secret(), SCOPES)
    file = folder / "current"
    replace_file(file, first.secret)
    async with Simulator(catalog(), [first], limits=NO_LIMITS, record=1_000_000) as simulator:
        config = _configure(folder, simulator.url)
        async with running("serve", "--config", config, cwd=folder) as gateway:
            event: dict[str, Any] = json.loads(await gateway.line('"started"'))
            yield Stage(simulator, gateway, event["listener"], event["address"], file, first.secret)
            done = await gateway.end()
    assert (0, "") == (done.status, done.err)


def _configure(folder: Path, upstream: str) -> Path:
    (folder / "policies").mkdir()
    caller = {**policy(token=None), "scopes": sorted(SCOPES)}
    (folder / "policies" / "app.yaml").write_text(yaml.safe_dump(caller))
    settings = {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "upstream": {"url": upstream},
        "keys": {"support": {"secrets": ["file:current"]}},
        "routes": [{"path": "/**", "keys": ["support"]}],
        "drain": {"delay": "0ms", "timeout": "1s"},
    }
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@asynccontextmanager
async def load(stage: Stage, *, rate: float | None = None, callers: int = 8) -> AsyncIterator[None]:
    """Callers that read and write all the while; at ``rate`` requests a second in all, or each as fast as answers come.

    Every fifth request is a write. Whatever is not answered by a 2xx is counted in ``failures``.
    """
    over = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"http://{stage.url}", connector=connector) as session:
        work = [asyncio.create_task(_call(stage, session, over, rate and callers / rate)) for _ in range(callers)]
        try:
            yield
        finally:
            over.set()
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*work)


async def _call(stage: Stage, session: aiohttp.ClientSession, over: asyncio.Event, pause: float | None) -> None:
    turn, due = secrets.randbelow(5), time.perf_counter()
    while not over.is_set():
        turn += 1
        if turn % 5:
            asked = session.get("/api/v2/threads?limit=1")
        else:
            asked = session.post("/api/v2/companies", json={"name": f"Company {turn}"})
        stage.sent += 1
        try:
            async with asked as answer:
                body = await answer.text()
                if not 200 <= answer.status < 300:
                    stage.failures[f"{answer.status} {body[:200]}"] += 1
        except aiohttp.ClientError as error:
            stage.failures[type(error).__name__] += 1
        if pause is not None:
            due += pause
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.perf_counter())):
                    await over.wait()
