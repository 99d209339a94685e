"""Policies by chance, over the endpoints of the catalog."""

from collections.abc import Sequence
from datetime import date

from hypothesis import strategies as st

from gateway.core.catalog import Catalog, Endpoint
from gateway.core.policy import Policy

TODAY = date(2026, 11, 24)


def endpoints(catalog: Catalog) -> Sequence[Endpoint]:
    """Some of each kind: any key, one scope, two scopes, guarded."""
    names = ("/me", "/threads", "/companies", "/contacts", "/changelogs", "/webhooks", "/files")
    return [endpoint for endpoint in catalog.endpoints if endpoint.template.startswith(names)]


def policies(catalog: Catalog, caller: str = "app") -> st.SearchStrategy[Policy]:
    """Any policy that can be written about these."""
    some = endpoints(catalog)
    scopes = sorted(frozenset[str]().union(*(endpoint.scopes for endpoint in some)))
    return st.builds(
        Policy,
        st.just(caller),
        scopes=st.frozensets(st.sampled_from(scopes), max_size=8),
        endpoints=st.frozensets(st.sampled_from(some), max_size=5),
        deny=st.frozensets(st.sampled_from(some), max_size=3),
        audit=st.booleans(),
        expires=st.sampled_from([None, date(2020, 1, 1), date(2030, 1, 1)]),
        reads=st.none() | st.integers(1, 9),
        writes=st.none() | st.integers(1, 9),
        weight=st.integers(1, 3),
    )
