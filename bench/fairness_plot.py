"""The figures of `bench.fairness` as an SVG, drawn by hand: no library, the same bytes for the same figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_COLOURS: Final = {"none": "#b0b0b0", "fifo": "#d98c3f", "shares": "#2f6f9f"}
_WIDTH: Final = 760
_ROW: Final = 18
_LEFT: Final = 300
_BAR: Final = 400


def plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Two panels: what the callers got of their fair shares (Jain's index), and 429s of the upstream in percent."""
    panels = [
        ("Jain's index of fair shares (1 is fair)", "jain", 1.0),
        ("Upstream 429s, % of requests", "upstream_429_percent", 0.0),
    ]
    height = len(panels) * (len(rows) * _ROW + 60) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 24
    for title, column, most in panels:
        lines.append(f'<text x="10" y="{top}" font-size="14">{title}</text>')
        top += 12
        lines += _bars(rows, column, most or max(1.0, *(float(row[column]) for row in rows)), top)
        top += len(rows) * _ROW + 48
    return "\n".join([*lines, "</svg>"]) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table of Markdown."""
    lines = [
        "| scenario | strategy | served of asked | upstream 429s | budget used | Jain's index | p99 of the modest |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        asked, got = row["asked"], row["served"]
        served = ", ".join(f"{caller} {got.get(caller, 0)} of {asked[caller]}" for caller in sorted(asked))
        wait = "" if row["modest_p99_wait"] is None else f"{row['modest_p99_wait']} s"
        refused = f"{row['upstream_429']} ({row['upstream_429_percent']} %)"
        cells = (
            row["scenario"],
            row["strategy"],
            served,
            refused,
            f"{row['budget_used_percent']} %",
            row["jain"],
            wait,
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _bars(rows: Sequence[Mapping[str, Any]], column: str, most: float, top: int) -> Iterator[str]:
    for number, row in enumerate(rows):
        y, value = top + number * _ROW, float(row[column])
        label = f"{row['scenario']} ({row['strategy']})"
        width = round(_BAR * value / most, 1)
        yield f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{label}</text>'
        yield f'<rect x="{_LEFT}" y="{y + 3}" width="{width}" height="{_ROW - 6}" fill="{_COLOURS[row["strategy"]]}"/>'
        yield f'<text x="{_LEFT + width + 4}" y="{y + 12}">{value:g}</text>'
