"""Looks up in the catalog the scopes and endpoints that a policy file names."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar, cast

from gateway.config.assembly.catalog import unknown_endpoint, unknown_scope
from gateway.config.reading.document import Document
from gateway.config.reading.problem import shown
from gateway.config.schema import policy as schema
from gateway.core.catalog import Catalog, Endpoint
from gateway.core.policy import Policy

T = TypeVar("T")
Sets: TypeAlias = dict[frozenset[Any], frozenset[Any]]


def make_policy(entry: schema.Policy, document: Document, catalog: Catalog, sets: Sets) -> Policy:
    """The policy of a file, with its scopes and endpoints from the catalog. Reports what is unknown.

    ``sets`` are those of the policies before it.
    """
    for here, scope in document.items(entry.scopes, "scopes"):
        if scope not in catalog.scopes:
            document.report(here, unknown_scope(scope, catalog.scopes))
    return Policy(
        entry.caller,
        _shared(sets, frozenset(entry.scopes)),
        _shared(sets, _endpoints("endpoints", entry.endpoints, document, catalog)),
        _shared(sets, _endpoints("deny", entry.deny, document, catalog)),
        entry.mode == "audit",
        entry.expires,
        reads=entry.limits.reads_per_minute,
        writes=entry.limits.writes_per_minute,
        weight=entry.weight,
    )


def _shared(sets: Sets, one: frozenset[T]) -> frozenset[T]:
    """The first set that equals this one. Policies that grant the same share it: memory, and work for the collector."""
    return cast("frozenset[T]", sets.setdefault(one, one))


def _endpoints(key: str, names: Sequence[str], document: Document, catalog: Catalog) -> frozenset[Endpoint]:
    found: set[Endpoint] = set()
    for here, name in document.items(names, key):
        endpoint = catalog.named(name)
        if endpoint is None:
            document.report(here, unknown_endpoint(name, catalog))
        elif endpoint in found:
            document.report(here, f"{shown(name)} is named twice")
        else:
            found.add(endpoint)
    return frozenset(found)
