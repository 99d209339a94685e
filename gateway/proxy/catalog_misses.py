"""Answers ``scope_required`` that the catalog did not foresee: Productlane asks for a scope that is not in it."""

import json
import re
from typing import Final

from gateway.core.catalog import Endpoint
from gateway.telemetry.event import Emit
from gateway.telemetry.events.peers import CatalogMiss

# A name from Productlane is reported only if it looks like a scope, and at most as many as an endpoint could need.
_SCOPE: Final = re.compile(r"(?!pl_v[0-9])[a-z][a-z0-9_-]{0,39}(?::[a-z][a-z0-9_-]{0,39})?", re.ASCII)
_MOST: Final = 8
# Different misses that are logged, once each.
_REPORTED: Final = 256


class CatalogMisses:
    """Counts misses of the catalog, and logs each different one once."""

    def __init__(self, emit: Emit) -> None:
        self._emit: Final = emit
        self._reported: Final[set[tuple[str, tuple[str, ...]]]] = set()

    def look(self, body: bytes, endpoint: Endpoint, key: str) -> None:
        """Look at the body of a 403 ``scope_required`` to a request for this endpoint, sent with a secret of this key.

        A scope that the catalog has too, and that the key lacks since somebody edited it, is no miss.
        """
        named = named_scopes(body)
        # An endpoint that is open to any key, as far as the catalog knows, is missed whatever is named.
        if named <= endpoint.scopes and endpoint.scopes:
            return
        scopes = tuple(sorted(named))
        first = (endpoint.name, scopes) not in self._reported and len(self._reported) < _REPORTED
        if first:
            self._reported.add((endpoint.name, scopes))
        expected = ", ".join(sorted(endpoint.scopes)) or "no scope"
        reason = f"Productlane asks for other scopes than the catalog, which has {expected}; correct it by `catalog`"
        self._emit(CatalogMiss(endpoint.name, key, list(scopes), reason, first))


def named_scopes(body: bytes) -> frozenset[str]:
    """``error.details.required`` of Productlane's envelope, as far as it looks like scopes; at most 8."""
    try:
        required = json.loads(body)["error"]["details"]["required"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return frozenset()
    if not isinstance(required, list):
        return frozenset()
    return frozenset([name for name in required if isinstance(name, str) and _SCOPE.fullmatch(name)][:_MOST])
