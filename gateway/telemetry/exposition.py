"""Metrics as text, in the format of Prometheus (0.0.4) or OpenMetrics 1.0, made so that a scrape holds nothing up."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from gateway.telemetry.series import Metric

# A thread that renders keeps the GIL for up to 5 ms after the loop asks for it (sys.getswitchinterval), at every event
# that the loop serves. One that lets go by itself each 0.4 ms of work does not. Sleeping 0 would take it right back.
STRETCH: Final = 200
PAUSE: Final = 50e-6

_OPENMETRICS: Final = "application/openmetrics-text"
_VERSIONS: Final = frozenset({"0.0.1", "1.0.0"})
_TYPES: Final = {
    True: f"{_OPENMETRICS}; version=1.0.0; charset=utf-8",
    False: "text/plain; version=0.0.4; charset=utf-8",
}
_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def wants_openmetrics(accept: str) -> bool:
    """Whether an ``Accept`` field asks for OpenMetrics, in a version that there is."""
    return any(map(_is_openmetrics, accept.lower().split(",")))


def _is_openmetrics(media: str) -> bool:
    kind, *parameters = (part.strip() for part in media.split(";"))
    asked = [part.removeprefix("version=").strip('"') for part in parameters if part.startswith("version=")]
    return kind == _OPENMETRICS and set(asked) <= _VERSIONS


def content_type(accept: str) -> str:
    """The media type for an ``Accept`` field: OpenMetrics where it is asked for, else Prometheus' text format."""
    return _TYPES[wants_openmetrics(accept)]


def render(families: Iterable[tuple[Metric, Iterable[str]]], accept: str) -> bytes:
    """The exposition, in the format that `content_type` names. It sleeps now and then: call it in a thread."""
    openmetrics = wants_openmetrics(accept)
    return b"".join(_pieces(_lines(families, openmetrics)))


def _lines(families: Iterable[tuple[Metric, Iterable[str]]], openmetrics: bool) -> Iterator[str]:
    for metric, samples in families:
        # A counter is named without its suffix in OpenMetrics, and with it in the older format.
        name = f"{metric.full}_total" if metric.kind == "counter" and not openmetrics else metric.full
        yield f"# HELP {name} {metric.help.translate(_HELP)}"
        yield f"# TYPE {name} {metric.kind}"
        yield from samples
    if openmetrics:
        yield "# EOF"


def _pieces(lines: Iterator[str]) -> Iterator[bytes]:
    while piece := "".join(f"{line}\n" for line in islice(lines, STRETCH)):
        yield piece.encode()
        time.sleep(PAUSE)
