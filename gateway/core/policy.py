"""What a caller may do, and the one function that decides it."""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from gateway.core.catalog import Endpoint, Lane
from gateway.core.refusal import Code, Reason, Refused


@dataclass(frozen=True, slots=True)
class Policy:
    """One caller's grant. Nothing is allowed that it does not name.

    ``audit`` forwards what scope and endpoint rules would refuse; ``deny``, guarded endpoints and ``expires`` hold all
    the same. ``expires`` is the first day (UTC) on which nothing is granted any more. ``reads`` and ``writes`` are the
    most requests a minute, None for no cap of its own; ``weight`` is its share of a key that several contend for.
    """

    caller: str
    scopes: frozenset[str] = frozenset()
    endpoints: frozenset[Endpoint] = frozenset()
    deny: frozenset[Endpoint] = frozenset()
    audit: bool = False
    expires: date | None = None
    reads: int | None = None
    writes: int | None = None
    weight: int = 1

    def cap(self, lane: Lane) -> int | None:
        """The most requests a minute in a lane; an upload is a write."""
        return self.reads if lane is Lane.READ else self.writes


class Permit(NamedTuple):
    """Proof that a policy allowed a request. `decide` is the only place that makes one.

    ``would_deny`` is set where only ``mode: audit`` let the request through.
    """

    caller: str
    endpoint: Endpoint
    reason: Reason
    would_deny: Reason | None = None


def decide(policy: Policy, endpoint: Endpoint, today: date) -> Permit:
    """Whether this caller may use this endpoint, on this day (UTC).

    The first of expiry, deny, guarded and scope that objects raises `Refused` with its reason.
    """
    caller = policy.caller
    if policy.expires is not None and today >= policy.expires:
        raise Refused(
            Code.FORBIDDEN,
            Reason.EXPIRED,
            f"The grant of caller `{caller}` ended on {policy.expires}.",
            note=f"policy {caller}: `expires: {policy.expires}` has passed; set a later date to renew it",
        )
    if endpoint in policy.deny:
        raise Refused(
            Code.FORBIDDEN,
            Reason.DENIED,
            f"Caller `{caller}` is denied `{endpoint.name}`.",
            note=f"policy {caller}: `deny` names {endpoint.name}",
        )
    if endpoint in policy.endpoints:
        return Permit(caller, endpoint, Reason.ENDPOINT_NAMED)
    if endpoint.guarded:
        raise Refused(
            Code.FORBIDDEN,
            Reason.GUARDED,
            f"`{endpoint.name}` is guarded: no scope alone reaches it.",
            note=f"policy {caller}: name {endpoint.name} under `endpoints` to allow it",
        )
    if endpoint.scopes <= policy.scopes:
        return Permit(caller, endpoint, Reason.SCOPE_HELD if endpoint.scopes else Reason.ANY_KEY)
    if policy.audit:
        return Permit(caller, endpoint, Reason.SCOPE_NOT_GRANTED, would_deny=Reason.SCOPE_NOT_GRANTED)
    raise Refused(
        Code.SCOPE_REQUIRED,
        Reason.SCOPE_NOT_GRANTED,
        required_scopes(endpoint),
        note=not_granted(policy, endpoint),
        details={"required": sorted(endpoint.scopes), "granted": sorted(policy.scopes)},
    )


def not_granted(policy: Policy, endpoint: Endpoint) -> str:
    """What the policy lacks for an endpoint, and what would change it, for the log and ``Proxy-Status``."""
    missing = ", ".join(sorted(endpoint.scopes - policy.scopes))
    return f"policy {policy.caller}: does not grant {missing}; add it under `scopes`"


def required_scopes(endpoint: Endpoint) -> str:
    """Productlane's sentence for ``scope_required``, for one scope or several."""
    names = " and ".join(f"`{scope}`" for scope in sorted(endpoint.scopes))
    return f"This endpoint requires the {names} scope{'s' if len(endpoint.scopes) > 1 else ''}."
