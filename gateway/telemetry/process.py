"""What Prometheus' conventions tell of a process, under the names that its client libraries share."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.telemetry.series import Kind, Metric

_PROC: Final = Path("/proc/self")
# Numbers of fields of /proc/PID/stat (proc(5)), less the two before and in the brackets, and counted from 0.
_UTIME, _STIME, _START, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21


def process_metrics() -> Iterator[tuple[Metric, Iterator[str]]]:
    """CPU, memory, start and descriptors of this process; nothing of what /proc does not tell."""
    try:
        # The name of the program, in brackets, may itself hold spaces and brackets.
        facts = (_PROC / "stat").read_text("utf-8", "replace").rpartition(") ")[2].split()
        boot = int(Path("/proc/stat").read_text().partition("\nbtime ")[2].split()[0])
        descriptors = len([*(_PROC / "fd").iterdir()])
    except (OSError, IndexError):
        return
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    busy = (int(facts[_UTIME]) + int(facts[_STIME])) / tick
    yield _metric("counter", "cpu_seconds", "Total user and system CPU time spent in seconds.", busy)
    yield _metric("gauge", "virtual_memory_bytes", "Virtual memory size in bytes.", int(facts[_VIRTUAL]))
    yield _metric("gauge", "resident_memory_bytes", "Resident memory size in bytes.", int(facts[_RESIDENT]) * page)
    started = boot + int(facts[_START]) / tick
    yield _metric("gauge", "start_time_seconds", "Start time of the process since unix epoch in seconds.", started)
    yield _metric("gauge", "open_fds", "Number of open file descriptors.", descriptors)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield _metric("gauge", "max_fds", "Maximum number of open file descriptors.", most)


def _metric(kind: Kind, name: str, help_text: str, value: float) -> tuple[Metric, Iterator[str]]:
    metric = Metric(kind, name, help_text, (), prefix="process_")
    return metric, metric.rows([((), value)])
