"""The gauges of rate budgets, from the same facts as the status."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from prometheus_client import Metric

from gateway.telemetry.series import gauge
from gateway.telemetry.status import BudgetStatus, ShareStatus

_AT: Final = ("key", "lane")

# What each key and lane shows, once an answer has told its limit.
_OF_A_LANE: Final[tuple[tuple[str, str, Callable[[BudgetStatus], float]], ...]] = (
    ("budget_remaining", "Requests left of the minute; all of them once it is over.", lambda lane: lane.remaining),
    ("budget_lowest", "Fewest requests left, of this minute and the last.", lambda lane: lane.lowest or 0),
    ("budget_limit", "Requests granted a minute, as last read.", lambda lane: lane.limit),
    ("budget_expected", "Requests to be expected until the reset, at the present rate.", lambda lane: lane.expected),
    (
        "budget_reset_timestamp_seconds",
        "When the last minute that an answer told of ends.",
        lambda lane: lane.reset.timestamp() if lane.reset else 0.0,
    ),
)
# And of each of the configuration's callers that asked of late.
_OF_A_CALLER: Final[tuple[tuple[str, str, Callable[[ShareStatus], float]], ...]] = (
    ("budget_caller_share", "A caller's share of the limit, by its weight among those that ask.", lambda of: of.share),
    ("budget_caller_used", "Requests that a caller has sent in this minute.", lambda of: of.used),
)


def budget_families(
    budgets: Mapping[tuple[str, str], BudgetStatus], keys: Collection[str], callers: Collection[str]
) -> Iterator[Metric]:
    """Every family, of budgets by key and lane. Other keys and callers than those named have no series."""
    known = [(at, lane) for at, lane in budgets.items() if at[0] in keys]
    read = [(at, lane) for at, lane in known if lane.reset is not None]
    shares = [((*at, of.caller), of) for at, lane in read for of in lane.callers if of.caller in callers]
    for name, meaning, value in _OF_A_LANE:
        yield gauge(name, meaning, _AT, [(at, value(lane)) for at, lane in read])
    for name, meaning, part in _OF_A_CALLER:
        yield gauge(name, meaning, (*_AT, "caller"), [(at, part(of)) for at, of in shares])
    waiting = [(at, lane.waiting) for at, lane in known]
    yield gauge("pacing_queue_length", "Requests that wait for rate budget.", _AT, waiting)
