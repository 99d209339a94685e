"""A registry's metrics as text, made so that a scrape does not hold the loop up."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, cast

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Sample

# A thread that renders keeps the GIL for up to 5 ms after the loop asks for it (sys.getswitchinterval), at every event
# that the loop serves. One that lets go by itself each 0.4 ms of work does not. Sleeping 0 would take it right back.
_STRETCH: Final = 48
_PAUSE: Final = 50e-6


def content_type(accept: str) -> str:
    """The media type for an ``Accept`` field: OpenMetrics where it is asked for, else Prometheus' text format."""
    return _encoder(accept)[1]


def _encoder(accept: str) -> tuple[Callable[..., bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # the library compares a version that is none
        return choose_encoder("")


def render(registry: CollectorRegistry, accept: str) -> bytes:
    """The exposition, in the format that `content_type` names. It sleeps now and then: call it in a thread."""
    encode, _ = _encoder(accept)
    return encode(cast("CollectorRegistry", _Gentle(registry)))


class _Collects(Protocol):
    def collect(self) -> Iterable[Metric]: ...


class _Gentle:
    """A registry whose samples come in short stretches, with the GIL let go in between."""

    def __init__(self, registry: _Collects) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = cast("list[Sample]", _with_pauses(metric.samples))
            yield metric


def _with_pauses(samples: Iterable[Sample]) -> Iterator[Sample]:
    for n, sample in enumerate(samples, 1):
        yield sample
        if n % _STRETCH == 0:
            time.sleep(_PAUSE)
