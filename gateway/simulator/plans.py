"""What the vendor's plans leave out: 403 ``forbidden``, whatever the key's scopes."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from gateway.core.catalog import Endpoint, plain
from gateway.simulator.errors import ErrorCode, Failed


class Plan(IntEnum):
    """A workspace's plan; a higher one holds all of the lower."""

    FREE = 0
    PRO = 1
    SCALE = 2


_NEEDS: Final[Mapping[str, Plan]] = MappingProxyType(
    {
        "GET /snippets": Plan.PRO,
        "POST /snippets": Plan.PRO,
        "GET /snippets/{}": Plan.PRO,
        "PATCH /snippets/{}": Plan.PRO,
        "DELETE /snippets/{}": Plan.PRO,
        "GET /snippets/folders": Plan.PRO,
        "POST /changelogs/{}/broadcast": Plan.PRO,
        "POST /changelog-tags": Plan.SCALE,
        "PATCH /changelog-tags/{}": Plan.SCALE,
        "DELETE /changelog-tags/{}": Plan.SCALE,
        "GET /portal/customer-portal": Plan.SCALE,
    }
)


def check_plan(endpoint: Endpoint, plan: Plan) -> None:
    """Raises `Failed` where the plan lacks the endpoint."""
    needed = _NEEDS.get(plain(endpoint.name), Plan.FREE)
    if plan < needed:
        raise Failed(ErrorCode.FORBIDDEN, f"This needs the {needed.name.capitalize()} plan.")
