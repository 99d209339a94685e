"""The package's own catalog, read the plain way, and a key for the tests that need one."""

import pytest

from gateway.core.catalog import Catalog
from gateway.core.secret import Secret
from tests.support.plain_catalog import plain_catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The endpoints that the package ships. `tests/config` holds that the gateway reads the same."""
    return plain_catalog()


@pytest.fixture
def secret() -> Secret:
    """A well-formed key that no one ever held."""
    return Secret("pl_v2_abcd1234efgh5678")
