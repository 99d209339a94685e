"""Panels of the dashboard, as this project draws them."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    RangeMap,
    RegexMap,
    SpecialValueMap,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.queries import rate

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel: TypeAlias = Stat | StateTimeline | Table | TimeSeries
Queries: TypeAlias = Mapping[str, str]


def thresholds(*steps: tuple[float | None, str]) -> ThresholdsConfig:
    """Colours from values on; the first has no value."""
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value, colour) for value, colour in steps])


def words(texts: Mapping[str, tuple[str, str]]) -> list[ValueMap | RangeMap | RegexMap | SpecialValueMap]:
    """A word and a colour for each value."""
    return [ValueMap({value: ValueMappingResult(text=text, color=colour) for value, (text, colour) in texts.items()})]


def timeline(
    title: str, description: str, expression: str, legend: str, texts: Mapping[str, tuple[str, str]]
) -> StateTimeline:
    """A bar for each series, in the word and colour of its value."""
    panel = StateTimeline().title(title).description(description).datasource(SOURCE).height(8).span(12)
    panel.mappings(words(texts))
    return panel.with_target(Dataquery().expr(expression).legend_format(legend).ref_id("A"))


def stat(title: str, description: str, expression: str, *, unit: str = units.Short, bad: float | None = 0.001) -> Stat:
    """One figure, red from ``bad`` on; blue where nothing is bad."""
    steps = thresholds((None, "blue")) if bad is None else thresholds((None, "green"), (bad, "red"))
    panel = Stat().title(title).description(description).unit(unit).datasource(SOURCE).height(4).span(3)
    panel.graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(steps)
    return panel.with_target(Dataquery().expr(expression).ref_id("A"))


def graph(title: str, description: str, queries: Queries, *, unit: str = units.Short) -> TimeSeries:
    """Lines over time; queries by the legend of their series."""
    panel = TimeSeries().title(title).description(description).unit(unit).datasource(SOURCE).height(8).span(8)
    panel.min(0).fill_opacity(10)
    for place, (legend, expression) in enumerate(queries.items()):
        panel.with_target(Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + place)))
    return panel


def rates(title: str, description: str, counter: str, *by: str, top: int = 0, **labels: str) -> TimeSeries:
    """The rates of a counter by labels, which are its legend; ``top`` keeps the so many highest."""
    legend, query = " ".join(f"{{{{{label}}}}}" for label in by), rate(counter, *by, **labels)
    return graph(title, description, {legend: f"topk({top}, {query})" if top else query}, unit=units.RequestsPerSecond)


def table(title: str, description: str, expression: str, columns: Sequence[str], *, value: str = "") -> Table:
    """Rows of labels, as they are now; the value is a column where it has a name."""
    shown = [*columns, *([value] if value else [])]
    arranged = {
        "indexByName": {name: place for place, name in enumerate(shown)},
        "renameByName": {"Value": value} if value else {},
        "excludeByName": {"Time": True, "Value": not value},
    }
    panel = Table().title(title).description(description).datasource(SOURCE).height(8).span(12)
    panel.with_target(Dataquery().expr(expression).instant().format(PromQueryFormat.TABLE).ref_id("A"))
    return panel.with_transformation(DataTransformerConfig("organize", options=arranged))
