"""Pieces of the dashboard's queries: which series, of the gateways that are chosen above the panels."""

from collections.abc import Mapping
from typing import Final

CHOSEN: Final = {label: f"${label}" for label in ("namespace", "job", "instance")}


def selector(name: str, labels: Mapping[str, str]) -> str:
    """A selector of series; the values of labels are patterns."""
    return name + "{" + ",".join(f'{label}=~"{value}"' for label, value in labels.items()) + "}"


def process(name: str) -> str:
    """The series of the chosen gateways' processes, whose metrics have no prefix."""
    return selector(name, CHOSEN)


def metric(name: str, **labels: str) -> str:
    """The series of the chosen gateways that have such labels."""
    return selector(f"productlane_gateway_{name}", CHOSEN | labels)


def recorded(name: str, **labels: str) -> str:
    """A series that comes of `rules.yaml`, which has no instance."""
    return selector(name, {label: value for label, value in CHOSEN.items() if label != "instance"} | labels)


def rate(name: str, *by: str, **labels: str) -> str:
    """The sum of a counter's rates, by labels."""
    return f"sum{' by (' + ', '.join(by) + ')' if by else ''} (rate({metric(name, **labels)}[$__rate_interval]))"


def quantile(share: float, name: str, *by: str, **labels: str) -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({share}, {rate(f'{name}_bucket', *by, 'le', **labels)})"


def ours(expression: str) -> str:
    """Of an expression about processes, those that are gateways."""
    return f"{expression} and on (namespace, job, instance) {metric('build_info')}"
