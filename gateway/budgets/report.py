"""Budgets as the status page, ``/status.json`` and the metrics show them."""

from gateway.budgets.pool import Pool
from gateway.core.catalog import Lane
from gateway.telemetry.status import BudgetStatus, ShareStatus, moment


def budget_status(pool: Pool, lane: Lane, now: float, waiting: int = 0) -> BudgetStatus:
    """One lane of a key at a moment of the monotonic clock. ``waiting`` are those that wait for its other secrets."""
    window = pool.budget.windows[lane]
    remaining, seconds = window.remaining(now), window.seconds_left(now)
    return BudgetStatus(
        window.limit,
        remaining,
        moment(window.reset),
        lowest=window.lowest(now),
        expected=sum(flow.waiting + flow.expected(now, seconds, here=True) for flow in window.shares),
        waiting=waiting + pool.queue.waiting(lane),
        callers=tuple(
            ShareStatus(flow.caller, flow.weight, window.quota(flow, now)[0], flow.used, flow.waiting)
            for flow in sorted(window.shares, key=lambda flow: flow.caller)
            if not flow.gone(now)
        ),
    )
