"""Whether requests are traced: as the variables ``OTEL_*`` of OpenTelemetry say, and only where its library is there.

Nothing of the library is imported before that is clear.
"""

import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gateway.telemetry.events.process import TracingOff, TracingOn
from gateway.telemetry.log import Log

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = ("OTEL_TRACES_EXPORTER",)
_DISABLED: Final = ("OTEL_SDK_DISABLED",)
_OTLP: Final = "otlp"
_PROTOCOL: Final = "http/protobuf"
# Values that OpenTelemetry's specification knows. Another may be anything that was pasted into the wrong place.
_SPEAKABLE: Final = frozenset({"grpc", "http/json", "console", "logging", "prometheus", "zipkin"})


def tracing(environ: Mapping[str, str], log: Log) -> "Tracing | None":
    """What traces requests; None where that is off. Where it is asked for and cannot be, the log says why, once.

    ``environ`` is the process's own: the library reads the rest of it by itself.
    """
    endpoint = _first(environ, _ENDPOINTS)
    exporter = _first(environ, _EXPORTERS) or _OTLP
    if not endpoint or exporter == "none" or _first(environ, _DISABLED).lower() == "true":
        return None
    protocol = _first(environ, _PROTOCOLS) or _PROTOCOL
    if exporter != _OTLP:
        return _off(log, f"OTEL_TRACES_EXPORTER is {_shown(exporter)}, and only `{_OTLP}` or `none` can be had")
    if protocol != _PROTOCOL:
        return _off(log, f"OTEL_EXPORTER_OTLP_PROTOCOL is {_shown(protocol)}, and only `{_PROTOCOL}` can be had")
    try:
        # 115 ms and 9 MB that only this needs.
        from gateway.telemetry.export import open_tracing

        address = urlsplit(endpoint).netloc.rpartition("@")[2]
        opened = open_tracing(log.event)
    except ImportError:
        return _off(log, "OpenTelemetry is not installed: install productlane-gateway[tracing]")
    except Exception as failure:  # noqa: BLE001 - no fault of an extra keeps a gateway from serving
        frame = traceback.extract_tb(failure.__traceback__)[-1]
        place = f"{type(failure).__name__} at {'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"
        return _off(log, f"the library does not take the value of one of the variables OTEL_*: {place}")
    log.event(TracingOn(address))
    return opened


def _first(environ: Mapping[str, str], names: Iterable[str]) -> str:
    """The first of these that is set, else empty. To OpenTelemetry an empty variable is one that is not set."""
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _shown(value: str) -> str:
    return f"`{value}`" if value in _SPEAKABLE else "something else"


def _off(log: Log, why: str) -> "Tracing | None":
    log.event(TracingOff(why))
    return None
