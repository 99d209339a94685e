"""One gateway and one upstream for all rows of a module; whatever reaches that upstream is accounted for."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.in_process import Running, running
from tests.support.recording import Upstream

# Header fields that are allowed to pass, so that rows can check them upstream.
NAMED = [
    *("A", "B", "X", "x-CASE", "X-Kept", "X-Hop", "X-Two", "X-A", "X-B", "!#$%&'*+-.^`|~"),
    *(f"X-{n}" for n in range(51)),
    *(f"X-{n:03}" for n in range(100)),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire(tmp_path_factory: object) -> AsyncIterator[Running]:
    """A gateway whose caller has every scope, with the key's identity already in memory."""
    folder = tmp_path_factory.mktemp("wire")  # type: ignore[attr-defined]
    upstream = Upstream()
    await upstream.start()
    named = {"request_fields": NAMED, "response_fields": [*NAMED]}
    async with running(folder, upstream, identity={"ttl": "1h"}, upstream=named) as run:
        assert 200 == (await run.ask()).status
        yield run
    await upstream.stop()
