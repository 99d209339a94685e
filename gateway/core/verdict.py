"""The walk from a target to a verdict: endpoint, policy, route. The data path and ``explain`` take the same one."""

from datetime import date
from typing import NamedTuple

from gateway.core.catalog import Catalog, Endpoint
from gateway.core.policy import Permit, Policy, decide
from gateway.core.refusal import Refused
from gateway.core.routing import Route, Routes
from gateway.core.target import Target


class Verdict(NamedTuple):
    """What a request came to: whatever was found out before the first step that refused, and that refusal.

    Without ``refused``, ``endpoint`` and ``permit`` are there, and ``route`` where routes were looked at.
    """

    endpoint: Endpoint | None = None
    permit: Permit | None = None
    route: Route | None = None
    refused: Refused | None = None


def judge(target: Target, policy: Policy, catalog: Catalog, routes: Routes | None, today: date) -> Verdict:
    """Whether this caller may send this, on this day (UTC), and by which route; ``routes=None`` asks the policy alone.

    Never raises `Refused`: a refusal comes with what was known by then.
    """
    endpoint = permit = route = None
    try:
        endpoint = catalog.find(target)
        permit = decide(policy, endpoint, today)
        if routes is not None:
            route = routes.find(policy.caller, endpoint)
    except Refused as refused:
        return Verdict(endpoint, permit, route, refused)
    return Verdict(endpoint, permit, route)
