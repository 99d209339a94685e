"""Spans while their request is served: ids, times and what is known, some microseconds of the loop's.

Imported only if tracing is on. Another thread makes the attributes of a span: see `gateway.telemetry.export`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import UNSET
from multidict import MultiMapping
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context

from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import TracingFault
from gateway.telemetry.ids import read_traceparent
from gateway.telemetry.record import Record

# W3C Trace Context level 2: sampled, and a trace id that is random. Other bits mean nothing yet.
_FLAGS: Final = TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID
_NO_STATE: Final = TraceState()

Attributes: TypeAlias = dict[str, str | int | float]


class Trace:
    """One request and its span, which begins now."""

    __slots__ = ("_clock", "_parent", "_record", "_resends", "_state", "_tracing", "began", "context")

    def __init__(
        self,
        tracing: "Tracing",
        record: Record,
        parent: SpanContext | None,
        opened: tuple[SpanContext, TraceState],
    ) -> None:
        self._tracing: Final = tracing
        self._record: Final = record
        self._parent: Final = parent
        self.context, self._state = opened
        self._resends = 0
        # Two clocks, so that no step of the wall clock lets a span begin before the one above it.
        self.began: Final = time.time_ns()
        self._clock: Final = time.perf_counter_ns()

    def now(self) -> int:
        """Unix time in nanoseconds."""
        return self.began + time.perf_counter_ns() - self._clock

    def send(self, host: str, port: int) -> "Attempt":
        """It is about to be sent upstream, for the first time or once more."""
        record, resends = self._record, self._resends
        self._resends += 1
        opened = self._tracing.open(self.context, self._state, record.method, SpanKind.CLIENT)
        sent = Sent(record.method, record.endpoint, host, port, record.key, record.slot, resends)
        return Attempt(self, opened, sent)

    def tell(self, story: "FinishedSpan") -> None:
        self._tracing.tell(story)

    def end(self) -> None:
        """Tell what has become of the request. Its record is whole and changes no more."""
        record = self._record
        record.trace = UNSET
        ended = self.began + int(record.duration_ms * 1_000_000)
        self.tell(FinishedSpan(self.context, self._parent, SpanKind.SERVER, self.began, ended, record))


@dataclass(slots=True)
class Sent:
    """A request as it was sent upstream once. ``status`` is 0 where no answer came; ``error`` says why, in a word."""

    method: str
    endpoint: str
    host: str
    port: int
    key: str
    slot: str
    resends: int
    status: int = 0
    error: str = ""


class Attempt:
    """One time that a request is sent upstream, with its ``fields``. It ends with the head of an answer, or without."""

    __slots__ = ("_began", "_context", "_sent", "_trace", "fields")

    def __init__(self, trace: Trace, opened: tuple[SpanContext, TraceState], sent: Sent) -> None:
        context, state = opened
        self._trace: Final = trace
        self._context: Final = context
        self._sent: Final = sent
        ids = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.fields: Final = [("traceparent", ids), *([("tracestate", state.to_header())] if state else [])]
        self._began: Final = trace.now()

    def answered(self, status: int) -> None:
        self._sent.status = status
        self._tell()

    def failed(self, error: str) -> None:
        self._sent.error = error
        self._tell()

    def _tell(self) -> None:
        trace = self._trace
        trace.tell(FinishedSpan(self._context, trace.context, SpanKind.CLIENT, self._began, trace.now(), self._sent))


@dataclass(slots=True)
class FinishedSpan:
    """A span that has ended. Times are Unix nanoseconds; ``number`` counts the stories of a process from 1."""

    context: SpanContext
    parent: SpanContext | None
    kind: SpanKind
    began: int
    ended: int
    about: Record | Sent
    number: int = 0


class Tracing:
    """Begins spans and hands those that are sampled to ``send`` when they have ended. For the thread of the loop.

    ``shut`` sends the remaining spans and stops what ``send`` uses. ``emit`` gets the fault that this takes too long.
    ``listener`` holds the attributes that say where a request arrived. `listens` fills it, and every
    request's span carries them.
    """

    def __init__(
        self,
        sampler: Sampler,
        ids: IdGenerator,
        *,
        send: Callable[[FinishedSpan], None],
        shut: Callable[[], None],
        emit: Emit,
        listener: Attributes,
    ) -> None:
        self._sampler: Final = sampler
        self._ids: Final = ids
        self._send: Final = send
        self._shut: Final = shut
        self._emit: Final = emit
        self._listener: Final = listener
        self._told = 0

    def begin(self, record: Record, fields: MultiMapping[str]) -> None:
        """Begin a request's span, below its caller's where the fields name one, and give the record its trace id."""
        found = read_traceparent(fields.get("traceparent"))
        parent, state = None, _NO_STATE
        if found is not None:
            trace, span, flags = found
            # W3C Trace Context section 3.3.1.3: what cannot be read is left out, whole.
            state = TraceState.from_header(states) if (states := fields.getall("tracestate", [])) else _NO_STATE
            parent = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(flags & _FLAGS))
        opened = self.open(parent, state, record.method, SpanKind.SERVER)
        record.trace_id = f"{opened[0].trace_id:032x}"
        record.trace = Trace(self, record, parent, opened)

    def open(
        self, parent: SpanContext | None, state: TraceState, name: str, kind: SpanKind
    ) -> tuple[SpanContext, TraceState]:
        """The ids of a new span, and the ``tracestate`` of what goes on from it."""
        if parent is None:
            trace, random, above = self._ids.generate_trace_id(), self._ids.is_trace_id_random(), Context()
        else:
            trace, random = parent.trace_id, bool(parent.trace_flags & TraceFlags.RANDOM_TRACE_ID)
            if state:
                parent = SpanContext(trace, parent.span_id, parent.is_remote, parent.trace_flags, state)
            above = set_span_in_context(NonRecordingSpan(parent), Context())
        sampled = self._sampler.should_sample(above, trace, name, kind, {"http.request.method": name})
        flags = TraceFlags.SAMPLED if sampled.decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
        flags |= TraceFlags.RANDOM_TRACE_ID if random else 0
        context = SpanContext(trace, self._ids.generate_span_id(), is_remote=False, trace_flags=TraceFlags(flags))
        return context, sampled.trace_state or _NO_STATE

    def tell(self, story: FinishedSpan) -> None:
        if story.context.trace_flags.sampled:
            self._told += 1
            story.number = self._told
            self._send(story)

    def listens(self, host: str, port: int, *, tls: bool) -> None:
        """Where callers arrive: a host and a port, or a unix socket's path and 0."""
        self._listener["url.scheme"] = "https" if tls else "http"
        # 0.0.0.0 and :: are no address that anybody reached.
        if host.strip("0.:"):
            self._listener["server.address"] = host
        if port:
            self._listener["server.port"] = port

    def close(self, seconds: float = 2.0) -> None:
        """Send what is left, for at most so long; then it is given up. Blocks."""
        thread = threading.Thread(target=self._shut, name="tracing-end", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._emit(TracingFault(f"what was left could not be sent within {seconds:g} s"))
