"""Fixtures of the tests of callers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.support.issuer import LocalIssuer, issuer_on_loopback


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The CA of the cluster."""
    return trustme.CA()


@pytest.fixture
async def issuer(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[LocalIssuer]:
    """A running issuer with one key."""
    async with issuer_on_loopback(tmp_path / "cluster-ca.crt", authority) as local:
        yield local
