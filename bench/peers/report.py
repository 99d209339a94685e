"""What a comparison found, as Markdown and as a plot."""

import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench import report

# Each row of the table: how it is called, and its unit.
ROWS: Final = {
    "GET": "µs",
    "POST 1 kB": "µs",
    "GET, TLS upstream": "µs",
    "POST 1 kB, TLS upstream": "µs",
    "added p50": "µs",
    "added p99": "µs",
    "start to first answer": "ms",
    "idle memory": "MB",
    "idle CPU a minute": "ms",
    "CPU a GB": "ms",
    "memory grown by a large answer": "MB",
}
_AGAINST: Final = ("nginx", "Envoy", "aiohttp tutorial")
_PLOTTED: Final = {"CPU of a GET of 1 kB, µs": "GET", "Memory at rest, MB": "idle memory"}
_LONGEST: Final = 500.0

Figures = Mapping[str, Mapping[str, float]]


def table(found: Figures) -> str:
    """A row for each figure and a column for each peer; then the gateway's as a multiple of some of them."""
    against = [peer for peer in _AGAINST if peer in found]
    rows = (
        [
            f"{row}, {unit}",
            *(f"{figures[row]:.0f}" for figures in found.values()),
            *(_multiple(found["gateway"][row], found[peer][row]) for peer in against),
        ]
        for row, unit in ROWS.items()
    )
    return report.table(["", *found, *(f"× {peer}" for peer in against)], rows)


def _multiple(ours: float, theirs: float) -> str:
    """Less than half of a unit is noise, and no divisor."""
    return f"{ours / theirs:.2f}" if theirs >= 0.5 else "–"


def plot(found: Figures) -> str:
    """CPU of a GET by peer, and memory at rest."""
    panels = []
    for title, row in _PLOTTED.items():
        values = {peer: figures[row] for peer, figures in found.items()}
        bars = [
            report.Bar(peer, value, f"{value:.0f}", "#2f6f9f" if peer == "gateway" else "#b0b0b0")
            for peer, value in values.items()
        ]
        panels.append((title, min(_LONGEST, max(values.values())), bars))
    return report.plot(panels, left=130)


def heading(versions: Mapping[str, str], missing: list[str]) -> str:
    """When and where it ran, and with which versions."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ":?")
    build = "Debian's" if sys.base_prefix == "/usr" else "another"
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    absent = f" Not installed: {', '.join(missing)}." if missing else ""
    return (
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {len(os.sched_getaffinity(0))} × "
        f"{model.partition(':')[2].strip()}, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()} "
        f"({build} build): {told}.{absent}"
    )
