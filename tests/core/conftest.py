"""The package's own catalog, read the plain way, and a key for the tests that need one."""

from pathlib import Path

import pytest
import yaml

import gateway
from gateway.core.catalog import Catalog, Endpoint, Lane, Successor
from gateway.core.secret import Secret


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """The endpoints that the package ships, without any of the checks that `gateway.config` makes."""
    facts = yaml.safe_load((Path(gateway.__file__).parent / "config" / "productlane_v2.yaml").read_text("utf-8"))
    endpoints = [
        Endpoint(
            row["method"],
            row["path"],
            frozenset(row["scopes"]),
            Lane(row.get("lane", "read" if row["method"] == "GET" else "write")),
            row.get("guarded", False),
        )
        for row in facts["endpoints"]
    ]
    successors = [Successor(row["method"], row["path"], row["replacement"]) for row in facts["v1"]]
    return Catalog(endpoints, facts["scopes"], successors)


@pytest.fixture
def secret() -> Secret:
    """A well-formed key that no one ever held."""
    return Secret("pl_v2_abcd1234efgh5678")
