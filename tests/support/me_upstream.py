"""A real server on loopback that answers `GET /me` and keeps what reached it; and the values that tests share."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import RawTestServer

from gateway.config.schema.gateway import Identity as IdentitySettings
from gateway.core.secret import Secret
from gateway.keys.identity import Identities
from gateway.keys.me_values import MeSettings
from gateway.keys.store import BestEffortStore, Store
from gateway.telemetry.event import Emit, ignore
from tests.support.clock import Clock

A = Secret("pl_v2_aaaa-the-first-secret")
B = Secret("pl_v2_bbbb-another-secret")
C = Secret("pl_v2_cccc-one-more-secret")
SETTINGS = IdentitySettings(ttl=60.0, refused_ttl=10.0, stale_if_error=3600.0, prefetch=False)


def me_settings(url: str, **more: Any) -> MeSettings:
    """How `/me` below this URL is asked, by a clock that stands still if none is given."""
    given: dict[str, Any] = {"identity": SETTINGS, "timeout": 5.0, "clock": Clock(), "wall": Clock()}
    return MeSettings(upstream=url, **(given | more))


class Productlane:
    """Answers `/me` for every secret with its scopes, or as `status`, `body` and `headers` say.

    While `gate` is closed no answer leaves, nor one about a secret while its event in `held` is not set.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[web.BaseRequest] = []
        self.scopes: dict[str, list[str]] = {}
        self.workspaces: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self._came = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        self._came.set()
        await self.gate.wait()
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if bearer in self.held:
            await self.held[bearer].wait()
        body = json.dumps(self.identity(bearer)).encode() if self.body is None else self.body
        status = self.statuses.get(bearer, self.status)
        return web.Response(status=status, body=body, content_type="application/json", headers=self.headers)

    def identity(self, bearer: str) -> dict[str, Any]:
        return {
            "workspace_id": self.workspaces.get(bearer, "wks_1"),
            "api_key_id": f"key_{bearer[6:10]}",
            "scopes": self.scopes.get(bearer, ["threads:read"]),
            "linear_team_ids": [],
        }

    async def reached(self, count: int) -> None:
        """Wait until so many requests have come in."""
        async with asyncio.timeout(5):
            while len(self.asked) < count:
                self._came.clear()
                await self._came.wait()

    @property
    def bearers(self) -> list[str]:
        return [request.headers["Authorization"].removeprefix("Bearer ") for request in self.asked]


@asynccontextmanager
async def productlane_serving() -> AsyncIterator[Productlane]:
    productlane = Productlane()
    async with RawTestServer(productlane.handle) as server:
        productlane.url = str(server.make_url("/api/v2"))
        try:
            yield productlane
        finally:
            productlane.gate.set()


@asynccontextmanager
async def asking(
    url: str, clock: Clock, store: Store | None = None, store_emit: Emit = ignore, **more: Any
) -> AsyncIterator[Identities]:
    """`Identities` that ask at this URL, closed at the end. The wall clock is the other one, if none is given."""
    kept = None if store is None else BestEffortStore(store, clock=clock, emit=store_emit)
    own = {name: more.pop(name) for name in ("emit", "entries", "after") if name in more}
    identities = Identities(me_settings(url, **({"clock": clock, "wall": clock, "store": kept} | more)), **own)
    try:
        yield identities
    finally:
        await identities.close()
