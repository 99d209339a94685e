"""What a comparison found, as Markdown."""

import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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
_BEGIN, _END = "<!-- bench.peers -->\n", "<!-- /bench.peers -->"

Figures = Mapping[str, Mapping[str, float]]


def table(found: Figures) -> str:
    """A row for each figure and a column for each peer; then the gateway's as a multiple of some of them."""
    against = [peer for peer in _AGAINST if peer in found]
    heads = [*found, *(f"× {peer}" for peer in against)]
    lines = [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for row, unit in ROWS.items():
        cells = [f"{figures[row]:.0f}" for figures in found.values()]
        cells += [_multiple(found["gateway"][row], found[peer][row]) for peer in against]
        lines.append(f"| {row}, {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _multiple(ours: float, theirs: float) -> str:
    """Less than half of a unit is noise, and no divisor."""
    return f"{ours / theirs:.2f}" if theirs >= 0.5 else "–"


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


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page. Raises SystemExit where it has none."""
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise SystemExit(f"{page} has nothing between {_BEGIN.strip()} and {_END}")
    page.write_text(f"{before}{begin}{text}\n{end}{after}")
