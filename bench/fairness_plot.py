"""The figures of `bench.fairness` as an SVG and as a table of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench import report

_COLOURS: Final = {"none": "#b0b0b0", "fifo": "#d98c3f", "shares": "#2f6f9f"}


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Two panels: what the callers got of their fair shares (Jain's index), and 429s of the upstream in percent."""

    def bars(column: str) -> list[report.Bar]:
        return [
            report.Bar(
                f"{row['scenario']} ({row['strategy']})", row[column], f"{row[column]:g}", _COLOURS[row["strategy"]]
            )
            for row in rows
        ]

    worst = max(1.0, *(row["upstream_429_percent"] for row in rows))
    panels = [
        ("Jain's index of fair shares (1 is fair)", 1.0, bars("jain")),
        ("Upstream 429s, % of requests", worst, bars("upstream_429_percent")),
    ]
    return report.plot(panels, left=300)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table of Markdown."""
    head = ("scenario", "strategy", "served of asked", "upstream 429s", "budget used", "Jain's index")
    return report.table((*head, "p99 wait of the modest"), map(_cells, rows), words=3)


def _cells(row: Mapping[str, Any]) -> list[object]:
    asked, got, wait = row["asked"], row["served"], row["modest_p99_wait"]
    return [
        row["scenario"],
        row["strategy"],
        ", ".join(f"{caller} {got.get(caller, 0)} of {asked[caller]}" for caller in sorted(asked)),
        f"{row['upstream_429']} ({row['upstream_429_percent']} %)",
        f"{row['budget_used_percent']} %",
        row["jain"],
        "" if wait is None else f"{wait} s",
    ]
