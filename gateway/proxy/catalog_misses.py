"""Answers ``scope_required`` that the catalog did not foresee: Productlane asks for a scope that is not in it."""

import json
import re
from typing import Final

from gateway.core.catalog import Endpoint
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

# What Productlane names is told only where it looks like a scope, and no more of it than an endpoint could need.
_SCOPE: Final = re.compile(r"(?!pl_v[0-9])[a-z][a-z0-9_-]{0,39}(?::[a-z][a-z0-9_-]{0,39})?", re.ASCII)
_MOST: Final = 8
# Different misses that are told, once each.
_TOLD: Final = 256


class Misses:
    """Counts misses of the catalog, and tells of each different one once."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._metrics: Final = metrics
        self._log: Final = log
        self._told: Final[set[tuple[str, tuple[str, ...]]]] = set()

    def look(self, body: bytes, endpoint: Endpoint, key: str) -> None:
        """Look at the body of a 403 ``scope_required`` to a request for this endpoint, sent with a secret of this key.

        A scope that the catalog has too, and that the key lacks since somebody edited it, is no miss.
        """
        named = named_scopes(body)
        # An endpoint that is open to any key, as far as the catalog knows, is missed whatever is named.
        if named <= endpoint.scopes and endpoint.scopes:
            return
        self._metrics.catalog_miss(endpoint.name)
        scopes = tuple(sorted(named))
        if (endpoint.name, scopes) in self._told or len(self._told) >= _TOLD:
            return
        self._told.add((endpoint.name, scopes))
        expected = ", ".join(sorted(endpoint.scopes)) or "no scope"
        self._log.event(
            "warning",
            "catalog_miss",
            catalog_endpoint=endpoint.name,
            key=key,
            scopes=list(scopes),
            reason=f"Productlane asks for other scopes than the catalog, which has {expected}; correct it by `catalog`",
        )


def named_scopes(body: bytes) -> frozenset[str]:
    """``error.details.required`` of Productlane's envelope, as far as it looks like scopes; at most 8."""
    try:
        required = json.loads(body)["error"]["details"]["required"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return frozenset()
    if not isinstance(required, list):
        return frozenset()
    return frozenset([name for name in required if isinstance(name, str) and _SCOPE.fullmatch(name)][:_MOST])
