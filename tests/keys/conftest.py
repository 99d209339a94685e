"""What the tests of keys share: a Productlane that answers `/me`, a clock, and identities that ask it."""

from collections.abc import AsyncIterator

import pytest

from gateway.keys.identity import Identities
from tests.support.clock import Clock
from tests.support.me_upstream import Productlane, asking, productlane_serving


@pytest.fixture
async def productlane() -> AsyncIterator[Productlane]:
    """A Productlane on loopback that takes every secret."""
    async with productlane_serving() as productlane:
        yield productlane


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock that a test moves."""
    return Clock()


@pytest.fixture
async def identities(productlane: Productlane, clock: Clock) -> AsyncIterator[Identities]:
    """The identities that this Productlane gives."""
    async with asking(productlane.url, clock) as identities:
        yield identities
