"""The gateway under attack."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.honest import TWO
from tests.support.recording import Upstream
from tests.support.served import Served, serving


@pytest.fixture
async def served(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Served]:
    """A real `serve` with an honest caller and an attacker."""
    async with serving(tmp_path, upstream, **TWO) as served:
        yield served
