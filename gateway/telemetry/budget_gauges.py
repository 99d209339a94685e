"""The gauges of rate budgets, from the same facts as the status."""

from collections.abc import Callable, Iterator
from typing import Final

from gateway.telemetry.gauge import Gauge, Rows, State, gauge
from gateway.telemetry.series import Values
from gateway.telemetry.status import BudgetStatus, ShareStatus

_AT: Final = ("key", "lane")


def _known(state: State) -> Iterator[tuple[Values, BudgetStatus]]:
    return ((at, lane) for at, lane in state.budgets.items() if at[0] in state.key_names)


def _of_a_lane(name: str, help_text: str, value: Callable[[BudgetStatus], float]) -> Gauge:
    """One gauge for each key and lane. A lane appears once an answer has reported its limit."""

    def rows(state: State) -> Rows:
        return [(at, value(lane)) for at, lane in _known(state) if lane.reset is not None]

    return gauge(name, help_text, _AT, rows)


def _of_a_caller(name: str, help_text: str, value: Callable[[ShareStatus], float]) -> Gauge:
    """What each of the configuration's callers shows that asked of late."""

    def rows(state: State) -> Rows:
        read = ((at, lane) for at, lane in _known(state) if lane.reset is not None)
        return [
            ((*at, one.caller), value(one)) for at, lane in read for one in lane.callers if one.caller in state.callers
        ]

    return gauge(name, help_text, (*_AT, "caller"), rows)


BUDGET_GAUGES: Final[tuple[Gauge, ...]] = (
    _of_a_lane(
        "budget_remaining", "Requests left of the minute; all of them once it is over.", lambda lane: lane.remaining
    ),
    _of_a_lane("budget_lowest", "Fewest requests left, of this minute and the last.", lambda lane: lane.lowest or 0),
    _of_a_lane("budget_limit", "Requests granted a minute, as last read.", lambda lane: lane.limit),
    _of_a_lane(
        "budget_expected", "Requests to be expected until the reset, at the present rate.", lambda lane: lane.expected
    ),
    _of_a_lane(
        "budget_reset_timestamp_seconds",
        "End of the minute that the last answer named.",
        lambda lane: lane.reset.timestamp() if lane.reset else 0.0,
    ),
    _of_a_caller(
        "budget_caller_share", "A caller's share of the limit, by its weight among those that ask.", lambda of: of.share
    ),
    _of_a_caller("budget_caller_used", "Requests that a caller has sent in this minute.", lambda of: of.used),
    _of_a_caller("budget_caller_waiting", "Requests of a caller that wait for rate budget.", lambda of: of.waiting),
    gauge(
        "pacing_queue_length",
        "Requests that wait for rate budget.",
        _AT,
        lambda state: [(at, lane.waiting) for at, lane in _known(state)],
    ),
)
