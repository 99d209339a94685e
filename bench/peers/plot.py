"""The figures of a comparison as an SVG: CPU of a GET by peer, and memory at rest."""

from collections.abc import Iterator, Mapping
from typing import Final

_WIDTH: Final = 720
_ROW: Final = 22
_LEFT: Final = 130
_BAR: Final = 500
# Rows longer than this are cut, with their figure beside them: one peer would else make all others invisible.
_MOST: Final = 500.0


def plot(peers: Mapping[str, Mapping[str, float]]) -> str:
    """One panel for each figure, a bar for each peer."""
    height = 2 * (len(peers) * _ROW + 50) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 24
    for title, column in (("CPU of a GET of 1 kB, µs", "GET"), ("Memory at rest, MB", "idle memory")):
        lines.append(f'<text x="10" y="{top}" font-size="14">{title}</text>')
        lines += _bars(peers, column, top + 10)
        top += len(peers) * _ROW + 50
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bars(peers: Mapping[str, Mapping[str, float]], column: str, top: int) -> Iterator[str]:
    longest = min(_MOST, max(row[column] for row in peers.values()))
    for number, (name, row) in enumerate(peers.items()):
        y, width = top + number * _ROW, round(_BAR * min(1.0, row[column] / longest), 1)
        colour = "#2f6f9f" if name == "gateway" else "#b0b0b0"
        yield f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{name}</text>'
        yield f'<rect x="{_LEFT}" y="{y + 3}" width="{width}" height="{_ROW - 6}" fill="{colour}"/>'
        yield f'<text x="{_LEFT + width + 5}" y="{y + 15}">{row[column]:.0f}</text>'
