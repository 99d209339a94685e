"""Figures as Markdown and as SVG; the same bytes for the same figures."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_WIDTH: Final = 760
_ROW: Final = 20
_BAR: Final = 400


class Bar(NamedTuple):
    """One bar of a plot; ``text`` stands behind it."""

    label: str
    value: float
    text: str
    colour: str


def table(head: Sequence[object], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """A table of Markdown: so many columns of words to the left, then figures to the right."""
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * words + "---:|" * (len(head) - words), *lines[1:]])


def ratio(figures: Iterable[float], base: Iterable[float]) -> str:
    """The median of the rounds' ratios, since what else the machine does in a round weighs on both alike."""
    return f"{statistics.median(one / other for one, other in zip(figures, base, strict=True)):.2f}"


def microseconds(seconds: Iterable[float]) -> str:
    """The median of the rounds."""
    return f"{statistics.median(seconds) * 1e6:.0f}"


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` of a page. Raises SystemExit."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page} has nothing between {begin.strip()} and {end}")
    page.write_text(f"{before}{begin}{text}\n{end}{after}")


def plot(panels: Sequence[tuple[str, float, Sequence[Bar]]], left: int) -> str:
    """An SVG with a panel for each title, longest value and bars; ``left`` pixels for the labels.

    A bar of more than the longest value is cut: one would else make all others invisible.
    """
    height = sum(len(bars) * _ROW + 50 for _, _, bars in panels) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 24
    for title, most, bars in panels:
        lines.append(f'<text x="10" y="{top}" font-size="14">{title}</text>')
        lines += _bars(bars, most, left, top + 10)
        top += len(bars) * _ROW + 50
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bars(bars: Iterable[Bar], most: float, left: int, top: int) -> Iterator[str]:
    for y, bar in enumerate(bars):
        at, width = top + y * _ROW, round(_BAR * min(1.0, bar.value / most), 1)
        yield f'<text x="{left - 8}" y="{at + 14}" text-anchor="end">{bar.label}</text>'
        yield f'<rect x="{left}" y="{at + 3}" width="{width}" height="{_ROW - 6}" fill="{bar.colour}"/>'
        yield f'<text x="{left + width + 5}" y="{at + 14}">{bar.text}</text>'
