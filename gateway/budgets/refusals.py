"""The refusals of this room: no budget in time, or too many that wait for some."""

import math
from typing import TYPE_CHECKING

from gateway.budgets.claims import Claim
from gateway.budgets.fields import as_pairs, rate_limit_fields
from gateway.core.limits import Limit
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after

if TYPE_CHECKING:
    from gateway.config.schema.gateway import Pacing


def no_budget(claim: Claim, key: str, policy: Policy, now: float) -> Refused:
    """``rate_limited``: which budget, whose share of it, and when there is more."""
    part = claim.scarcest(now)
    window, flow = part.window, part.flow
    share, _, _ = window.quota(flow, now)
    seconds = max(1, math.ceil(claim.free_at(now) - now))
    caller, lane = policy.caller, claim.lane.value
    return Refused(
        Code.RATE_LIMITED,
        Reason.BUDGET,
        f"The {lane} budget of {window.limit} a minute is used up for caller `{caller}`, which has sent {flow.spent} "
        f"of its share of {share}.",
        note=f"key {key}: no budget in lane {lane} for caller {caller} within `pacing.max_wait`",
        fix=f"send it again in {seconds} s; for more, give caller `{caller}` a key of its own or raise its `weight`",
        decided_by=f"key {key}, {lane} budget: {window.limit} a minute",
        details={
            "limit": window.limit,
            "window": "1m",
            "budget": lane,
            "caller": caller,
            "share": share,
            "used": flow.spent,
            "retry_after": seconds,
        },
        headers=(retry_after(seconds), *as_pairs(rate_limit_fields(claim, now))),
        limit=Limit.QUEUE_WAIT,
    )


def queue_full(pacing: "Pacing") -> Refused:
    """``overloaded``: the queue of the key is full, and the caller has most in it."""
    return Refused(
        Code.OVERLOADED,
        Reason.LOAD,
        "Too many requests of this caller are waiting for rate budget.",
        note=f"`pacing.max_queue` lets {pacing.max_queue} requests wait for a key; the longest line loses its newest",
        fix="send fewer requests at a time, give the caller a key of its own, or raise `pacing.max_queue`",
        decided_by=f"pacing.max_queue: {pacing.max_queue}",
        headers=(retry_after(1),),
        limit=Limit.QUEUE,
    )
