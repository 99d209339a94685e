"""A collector on loopback that takes OTLP over HTTP and reads it, and a gateway configured to send to it."""

import contextlib
import gzip
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.support.recording import Upstream, answer
from tests.support.served import Served, serving

TAKEN = answer(200, b"", fields=("Content-Type: application/x-protobuf",))


@dataclass(frozen=True)
class Span:
    """A span as it reached the collector, ids in hex; ``failed`` is its status."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    failed: bool
    state: str
    attributes: dict[str, Any] = field(default_factory=dict)

    def own(self) -> dict[str, Any]:
        """The attributes that are the gateway's own, by their last words."""
        prefix = "productlane_gateway."
        return {name.removeprefix(prefix): value for name, value in self.attributes.items() if name.startswith(prefix)}


class Collector(Upstream):
    """Takes whatever comes, as `reply` says: at first with 200."""

    def __init__(self) -> None:
        super().__init__()
        self.reply = TAKEN

    def batches(self) -> list[ExportTraceServiceRequest]:
        """What has arrived so far."""
        found = []
        for arrival in self.arrivals:
            packed = arrival.all("Content-Encoding") == ["gzip"]
            found.append(
                ExportTraceServiceRequest.FromString(gzip.decompress(arrival.body) if packed else arrival.body)
            )
        return found

    def all_spans(self) -> list[Span]:
        """The spans that have arrived so far, in the order in which they began."""
        scopes = [scope for batch in self.batches() for one in batch.resource_spans for scope in one.scope_spans]
        return sorted((_span(message) for scope in scopes for message in scope.spans), key=lambda span: span.began)

    async def spans(self, count: int) -> list[Span]:
        """Wait for this number of spans and return them. Fails if there are more."""
        await self.until(lambda: len(self.all_spans()) >= count)
        found = self.all_spans()
        assert count == len(found), [span.name for span in found]
        return found

    def resource(self) -> dict[str, Any]:
        """What the first batch says of the process."""
        return _attributes(self.batches()[0].resource_spans[0].resource.attributes)


def _span(message: Message) -> Span:
    return Span(
        message.name,
        Message.SpanKind.Name(message.kind).removeprefix("SPAN_KIND_"),
        message.trace_id.hex(),
        message.span_id.hex(),
        message.parent_span_id.hex(),
        message.start_time_unix_nano,
        message.end_time_unix_nano,
        message.status.code == Status.STATUS_CODE_ERROR,
        message.trace_state,
        _attributes(message.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None


@contextlib.asynccontextmanager
async def traced(
    folder: Path, upstream: Upstream, collector: Upstream, environ: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """The command with tracing on, which sends ten times a second."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **(environ or {})}
    async with serving(folder, upstream, environ=variables, **settings) as served:
        yield served
