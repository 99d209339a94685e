"""The catalog that the package ships, read the plain way: without any of the checks that `gateway.config` makes."""

from pathlib import Path

import yaml

import gateway
from gateway.core.catalog import Catalog, Endpoint, Lane


def plain_catalog() -> Catalog:
    """Every endpoint, scope and successor in the package's file."""
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
    replacements = {(row["method"], row["path"]): row["replacement"] for row in facts["v1"]}
    return Catalog(endpoints, facts["scopes"], replacements)
