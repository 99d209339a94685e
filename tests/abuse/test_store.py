"""What somebody who can write to the Redis of a real `serve` can do to the requests of honest callers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import DEADLINE, eventually
from tests.support.honest import HONEST, asks
from tests.support.in_process import policy
from tests.support.recording import Upstream
from tests.support.redis_server import NEEDS_REDIS, redis_serving
from tests.support.served import Served, serving

MOST = 10_000


@NEEDS_REDIS
@pytest.mark.parametrize("moment", ["inf", "1e308", "99999999999999"], ids=["infinite", "300 digits", "future"])
async def test_a_poisoned_redis_stops_no_request(tmp_path: Path, upstream: Upstream, moment: str) -> None:
    """Counts, answers of `/me` and claims that cannot be true are faults of the store, and every request is served."""

    async def a_claim_is_told(served: Served) -> bool:
        # Asked again and again, since a store that was slow once is left alone for ten seconds.
        assert {200} == await asks(served, 1)
        return b"a claim that does not end" in served.out

    async with redis_serving(tmp_path) as redis:
        settings: dict[str, Any] = {
            "store": f"redis://127.0.0.1:{redis.at.port}",
            "identity": {"ttl": "1s"},
            "policies": [policy("honest", HONEST, limits={"reads_per_minute": MOST})],
        }
        async with serving(tmp_path / "before", upstream, **settings) as served:
            await asks(served, 1)
        names = [name.decode() async for name in redis.admin.scan_iter("*")]
        for name in names:
            await redis.command("DEL", name)
            if ":limits:" in name:
                await redis.command("RPUSH", name, *[moment] * MOST)
            else:
                await redis.command("SET", name, f'{{"fetched_at": {moment}}}')
                await redis.command("SET", f"{name}:asked", "1")
        async with serving(tmp_path / "after", upstream, **settings) as served, asyncio.timeout(4 * DEADLINE):
            assert {200} == await asks(served, 5)
            await served.until_said(b'"event":"limits_store_fault"')
            await eventually(lambda: a_claim_is_told(served), 3 * DEADLINE)

    assert {":limits:", ":me:"} == {mark for mark in (":limits:", ":me:") if any(mark in name for name in names)}
