"""What a gauge is: a metric, and how its rows follow from the state at one moment."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from gateway.telemetry.series import Metric, Values
from gateway.telemetry.status import BudgetStatus, IssuerStatus, KeyStatus, StoreStatus

Rows: TypeAlias = Iterable[tuple[Values, float]]


class State(msgspec.Struct, frozen=True):
    """What gauges show at one moment. Moments are Unix times; None and empty where there is nothing to show.

    ``budgets`` are by key and lane. ``loaded`` says whether the last load of the configuration succeeded, and when one
    last did. ``certificate`` is the start and end of the validity of the listener's certificate. ``callers`` and
    ``key_names`` are those of the configuration.
    """

    keys: tuple[KeyStatus, ...] = ()
    budgets: Mapping[tuple[str, str], BudgetStatus] = {}
    store: StoreStatus = StoreStatus()
    issuers: tuple[IssuerStatus, ...] = ()
    circuit_open: bool = False
    restart_needed: bool = False
    policy_expires: Mapping[str, float] = {}
    certificate: tuple[float, float] | None = None
    # Filled in by `Metrics`, which knows them itself.
    in_flight: int = 0
    loaded: tuple[bool, float] | None = None
    callers: frozenset[str] = frozenset()
    key_names: frozenset[str] = frozenset()
    build: Values = ()


class Gauge(NamedTuple):
    """One gauge and where its rows come from."""

    metric: Metric
    rows: Callable[[State], Rows]


def gauge(name: str, help_text: str, at: Values, rows: Callable[[State], Rows]) -> Gauge:
    """A gauge with labels ``at``; ``rows`` gives their values, in that order, and a number."""
    return Gauge(Metric("gauge", name, help_text, at), rows)
