"""Describes spans that have ended and sends them to a collector with the OpenTelemetry library.

Imported only if tracing is on. Everything except `open_tracing` runs in the library's thread.

The library's sampler, ids, batches, encoding and sending are used, but not its spans: with its tracer, the two spans of
a request take the event loop 45 µs, a quarter of the whole request, and here 12 (`python -m bench.instead`), since
another thread makes the attributes. So the batch processor is given a `FinishedSpan` where it expects the library's.

Names and attributes follow the stable HTTP conventions of OpenTelemetry. ``url.path``, ``url.full``, ``url.query`` and
every other attribute that would reveal an id, a query or a header of a caller are left out.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status, StatusCode

from gateway import __version__
from gateway.telemetry import labels
from gateway.telemetry.collector_session import Session
from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import TracingBack, TracingFault
from gateway.telemetry.record import Record
from gateway.telemetry.spans import Attributes, FinishedSpan, Sent, Tracing

_SERVICE: Final = "productlane-gateway"
# RFC 9110 section 9 and RFC 5789. Another may be any text of a caller's; the conventions have a word for all of them.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_OTHER_METHOD: Final = "_OTHER"

# A thread at work keeps the GIL for 5 ms whenever the loop asks for it (sys.getswitchinterval), and a span takes 0.1 ms
# to make and encode. One that lets go by itself each 0.4 ms does not hold requests up. Sleeping 0 would take it back.
_STRETCH: Final = 4
_PAUSE: Final = 50e-6

# A fault is reported as over after this many seconds without another. So a fault that comes and goes cannot fill the
# log.
_CALM: Final = 60.0

_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


def open_tracing(emit: Emit) -> Tracing:
    """Tracing as the variables ``OTEL_*`` say. ``emit`` gets faults and their end, in another thread.

    Raises ValueError where a variable has a value that cannot be used.
    """
    listener: Attributes = {}
    named = OTELResourceDetector().detect().attributes
    resource = Resource.create({"service.name": _SERVICE, "service.version": __version__, **named})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    session = Session()
    exporter = Exporter(OTLPSpanExporter(session=session), session, Describe(resource, listener), emit=emit)
    processor = BatchSpanProcessor(exporter)
    # The library would now log callers' fields and each batch that fails. `Exporter` reports faults instead.
    library = logging.getLogger("opentelemetry")
    library.addHandler(logging.NullHandler())
    library.propagate = False

    def send(span: FinishedSpan) -> None:
        processor.on_end(cast("ReadableSpan", span))

    return Tracing(
        provider.sampler,
        provider.id_generator,
        send=send,
        shut=processor.shutdown,
        emit=emit,
        listener=listener,
    )


class Describe:
    """Makes the exported form of a span. The ``OTEL_*`` variables limit the number and length of attributes."""

    def __init__(self, resource: Resource, listener: Attributes) -> None:
        self._resource: Final = resource
        self._listener: Final = listener
        self._scope: Final = InstrumentationScope(_SERVICE, __version__)
        self._limits: Final = SpanLimits()

    def __call__(self, span: FinishedSpan) -> ReadableSpan:
        """Empty attributes are left out."""
        about = span.about
        told, failed = _of_request(about, self._listener) if isinstance(about, Record) else _of_sending(about)
        method, route = _method(about.method), _route(about.endpoint)
        attributes = {"http.request.method": method, **told}
        return ReadableSpan(
            f"{'HTTP' if method == _OTHER_METHOD else method} {route}".rstrip(),
            context=span.context,
            parent=span.parent,
            resource=self._resource,
            attributes=BoundedAttributes(
                self._limits.max_span_attributes,
                {name: value for name, value in attributes.items() if value != ""},
                max_value_len=self._limits.max_span_attribute_length,
            ),
            kind=span.kind,
            status=_ERROR if failed else _UNSET,
            start_time=span.began,
            end_time=span.ended,
            instrumentation_scope=self._scope,
        )


def _of_request(record: Record, listener: Attributes) -> tuple[Attributes, bool]:
    """Attributes of a request's span, and whether it failed: by a server's fault, or with a good answer cut short."""
    code, status = labels.listed_code(record.code), record.status
    failed = status >= 500 or (0 < status < 400 and bool(code))
    told: Attributes = {
        "http.route": _route(record.endpoint),
        "http.response.status_code": status or "",
        "error.type": _error(code, status) if failed else "",
        **listener,
        "productlane_gateway.request_id": record.request_id,
        "productlane_gateway.caller": record.caller,
        "productlane_gateway.decision": record.decision,
        "productlane_gateway.reason": record.reason,
        "productlane_gateway.code": code,
        "productlane_gateway.source": record.source,
        "productlane_gateway.key": record.key,
        "productlane_gateway.slot": record.slot,
        "productlane_gateway.lane": record.lane,
        "productlane_gateway.wait_ms": record.wait_ms,
    }
    return told, failed


def _of_sending(sent: Sent) -> tuple[Attributes, bool]:
    """Attributes of the span of one sending, and whether it failed: any error of the upstream's, or no answer."""
    failed = sent.status >= 400 or bool(sent.error)
    told: Attributes = {
        "http.response.status_code": sent.status or "",
        "http.request.resend_count": sent.resends or "",
        "error.type": sent.error or (str(sent.status) if failed else ""),
        "server.address": sent.host,
        "server.port": sent.port,
        "productlane_gateway.key": sent.key,
        "productlane_gateway.slot": sent.slot,
    }
    return told, failed


def _method(method: str) -> str:
    return method if method in _METHODS else _OTHER_METHOD


def _route(endpoint: str) -> str:
    """The path's template of an endpoint's name (``GET /threads/{id}``), empty for ``other``."""
    return endpoint.partition(" ")[2]


def _error(code: str, status: int) -> str:
    return code if code in labels.CODES else str(status)


class Exporter(SpanExporter):
    """Sends batches with ``inner`` and reports each fault once. ``session`` knows the result of each batch.

    It takes a `FinishedSpan` where the library's types name a span. ``describe`` makes the library's span just before
    it is sent. ``clock`` is in seconds.
    """

    def __init__(
        self,
        inner: SpanExporter,
        session: Session,
        describe: Callable[[FinishedSpan], ReadableSpan],
        *,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner: Final = inner
        self._session: Final = session
        self._describe: Final = describe
        self._emit: Final = emit
        self._clock: Final = clock
        self._last_number = 0
        self._failed_at: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        ended = cast("Sequence[FinishedSpan]", spans)
        # The queue drops the oldest where it is full.
        dropped = ended[-1].number - self._last_number - len(ended)
        self._last_number = ended[-1].number
        self._session.fault = "spans could not be encoded"
        result = self._inner.export(cast("Sequence[ReadableSpan]", _Spans(ended, self._describe)))
        self._judge(
            self._session.fault or (f"spans ended faster than they could be sent: {dropped} dropped" if dropped else "")
        )
        return result

    def _judge(self, fault: str) -> None:
        now = self._clock()
        if fault:
            told, self._failed_at = self._failed_at is not None, now
            if not told:
                self._emit(TracingFault(fault))
        elif self._failed_at is not None and now - self._failed_at >= _CALM:
            self._failed_at = None
            self._emit(TracingBack())

    def shutdown(self) -> None:
        self._inner.shutdown()


class _Spans:
    """Makes each span when its turn comes. The work runs in short stretches and releases the GIL between them."""

    def __init__(self, ended: Sequence[FinishedSpan], describe: Callable[[FinishedSpan], ReadableSpan]) -> None:
        self._ended = ended
        self._describe = describe

    def __len__(self) -> int:
        return len(self._ended)

    def __iter__(self) -> Iterator[ReadableSpan]:
        for n, span in enumerate(self._ended, 1):
            yield self._describe(span)
            if n % _STRETCH == 0:
                time.sleep(_PAUSE)
