"""What the hand-made parts of telemetry buy: microseconds of the loop's for each, beside the library's own way.

    python -m bench.instead

`logging` is given a finished line with a `QueueHandler`, which leaves the writing to another thread as `Lines` does.
Both tracers make the two spans of one request that is sent on; OpenTelemetry's with its public interface alone, all
attributes set by the end. It needs the extra ``tracing``. What the other threads then do is not counted.
"""

import json
import logging
import logging.handlers
import os
import queue
import time
from collections.abc import Callable, Sequence

from multidict import CIMultiDict
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, set_span_in_context

from bench.telemetry import record
from bench.timing import per_call
from gateway.telemetry.lines import Lines
from gateway.telemetry.spans import Tracing


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the library's signature
        return SpanExportResult.SUCCESS


def of_thread(work: Callable[[], object]) -> float:
    """Microseconds of this thread's CPU for one call."""
    return per_call(work, 5000, time.thread_time)


def lines() -> dict[str, float]:
    """One line of the log."""
    null, text = os.open(os.devnull, os.O_WRONLY), "x" * 500
    line, ours = f"{text}\n".encode(), Lines(null)
    logger = logging.Logger("bench")
    waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    stream = logging.StreamHandler(open(null, "w", closefd=False))  # noqa: SIM115
    writer = logging.handlers.QueueListener(waiting, stream)
    writer.start()
    found = {"Lines": of_thread(lambda: ours.put(line)), "QueueHandler": of_thread(lambda: logger.info(text))}
    writer.stop()
    ours.close()
    return found


def spans() -> dict[str, float]:
    """The spans of one request."""
    provider = TracerProvider()
    ours = Tracing(
        provider.sampler,
        provider.id_generator,
        send=lambda _: None,
        shut=provider.shutdown,
        emit=lambda _: None,
        listener={},
    )
    fields: CIMultiDict[str] = CIMultiDict()
    provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    tracer = provider.get_tracer("bench")
    known = dict.fromkeys(("id", "caller", "decision", "reason", "source", "key", "slot", "lane"), "0123456789abcdef")

    def by_hand() -> None:
        one = record("app", "GET /things/{id}")
        ours.begin(one, fields)
        sent = one.trace.send("api.test", 443)  # type: ignore[union-attr]
        sent.answered(200)
        one.trace.end()  # type: ignore[union-attr]

    def by_library() -> None:
        record("app", "GET /things/{id}")
        began = time.time_ns()
        span = tracer.start_span("GET /things/{id}", Context(), SpanKind.SERVER, start_time=began)
        below = set_span_in_context(span, Context())
        sent = tracer.start_span("GET /things/{id}", below, SpanKind.CLIENT, start_time=began)
        sent.set_attributes({"http.request.method": "GET", "http.response.status_code": 200, "server.port": 443})
        sent.end(end_time=time.time_ns())
        span.set_attributes({"http.request.method": "GET", "http.response.status_code": 200, **known})
        span.end(end_time=time.time_ns())

    return {"Tracing": of_thread(by_hand), "OpenTelemetry": of_thread(by_library)}


if __name__ == "__main__":
    print(json.dumps(lines() | spans()))
