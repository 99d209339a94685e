"""What the tests of the simulator share: the packaged catalog, its keys, and one way to ask."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiohttp
from yarl import URL

from gateway.config.assembly.catalog import load_catalog
from gateway.core.catalog import Catalog
from gateway.simulator import Limits, SimulatedKey, Simulator

SECRET = "pl_v2_fullfullfullfull"
NO_LIMITS = Limits(reads=100_000, writes=100_000, uploads=100_000, uploads_per_day=100_000, burst=6)


@cache
def catalog() -> Catalog:
    return load_catalog()


def full_key(**parts: Any) -> SimulatedKey:
    return SimulatedKey(SECRET, frozenset(catalog().scopes), **parts)


@dataclass(frozen=True)
class Answered:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any = field(default=None)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Client:
    """Asks the simulator with a key; paths are the API's, sent as they are."""

    def __init__(self, session: aiohttp.ClientSession, simulator: Simulator) -> None:
        self.session = session
        self.simulator = simulator

    async def __call__(self, method: str, path: str, *, secret: str | None = SECRET, **parts: Any) -> Answered:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        url = URL(self.simulator.url + path, encoded=True)
        headers |= parts.pop("headers", {})
        async with self.session.request(method, url, headers=headers, **parts) as answer:
            body = await answer.read()
            parsed = await answer.json() if body and "json" in answer.headers.get("Content-Type", "") else None
            return Answered(answer.status, answer.headers, body, parsed)


@asynccontextmanager
async def running(*keys: SimulatedKey, **parts: Any) -> AsyncIterator[Client]:
    """A simulator on loopback with a full key, or those given, and a client for it."""
    start = {name: parts.pop(name) for name in ("control_port", "tls") if name in parts}
    simulator = Simulator(
        parts.pop("catalog", None) or catalog(), keys or (full_key(),), **({"limits": NO_LIMITS} | parts)
    )
    await simulator.start(**start)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            yield Client(session, simulator)
    finally:
        await simulator.stop()
