"""One gateway and one upstream for all rows of a module; whatever reaches that upstream is accounted for."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.kit import Running, Upstream, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire(tmp_path_factory: object) -> AsyncIterator[Running]:
    """A gateway whose caller may do everything, with the key's identity known already."""
    folder = tmp_path_factory.mktemp("wire")  # type: ignore[attr-defined]
    upstream = Upstream()
    await upstream.start()
    async with running(folder, upstream, identity={"ttl": "1h"}) as run:
        assert 200 == (await run.ask()).status
        yield run
    await upstream.stop()
