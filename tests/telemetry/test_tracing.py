"""Tracing from the operator's side: when it is on, what a faulty collector does to it, what spans may carry."""

import asyncio
import json
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from gateway.telemetry.collector_session import Session
from gateway.telemetry.event import Event
from gateway.telemetry.events.process import TracingBack, TracingFault
from gateway.telemetry.export import Describe, Exporter
from gateway.telemetry.record import Record
from gateway.telemetry.spans import FinishedSpan
from tests.support.collector import TAKEN, Collector, traced
from tests.support.hostile import mangled, wire_rows
from tests.support.hunt import found
from tests.support.raw_caller import head
from tests.support.recording import Upstream, answer
from tests.support.sentinels import KEY, TOKEN
from tests.support.served import Served, serving

# How long a request may take beside other tests; a collector that is waited for takes ten times as long.
SOON = 1.0


def logged(served: Served, event: str) -> list[str]:
    """The reasons of an event's lines so far."""
    return [line["reason"] for line in served.lines() if line.get("event") == event]


async def asked(served: Served) -> float:
    """The seconds that a request took, which was answered with 200."""
    began = time.perf_counter()
    assert 200 == (await served.ask()).status
    return time.perf_counter() - began


def arrived(collector: Collector, count: int) -> bool:
    """Whether so many batches have come."""
    return len(collector.arrivals) >= count


def quiet(served: Served) -> bool:
    """Whether the output is only lines of JSON, and none of them from the library."""
    lines = [json.loads(line) for line in served.out.splitlines()]
    return not served.err and not [line for line in lines if line.get("logger", "").startswith("opentelemetry")]


async def test_a_collector_that_is_not_there_costs_no_request(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """Requests are served as ever, and the log says once, and in its own form, that spans cannot be sent and why."""
    await collector.stop()
    environ = {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.1"}
    async with traced(tmp_path, upstream, collector, environ) as served:
        slowest = await asked(served)
        await served.until_said(b'"event":"tracing_fault"')
        for _ in range(5):
            slowest = max(slowest, await asked(served))
            await asyncio.sleep(0.15)
        assert 0 == (await served.end()).status

    assert ["the collector gave no answer: ConnectionError"] == logged(served, "tracing_fault")
    assert slowest < SOON
    assert quiet(served)


@pytest.mark.parametrize("status", [301, 400, 404, 500])
async def test_a_collector_that_refuses_is_told_once(
    tmp_path: Path, upstream: Upstream, collector: Collector, status: int
) -> None:
    """Whatever it answers but 2xx, batch after batch, is one line with its status."""
    collector.reply = answer(status, b"no", fields=(f"Location: {collector.url}/elsewhere",))
    async with traced(tmp_path, upstream, collector) as served:
        for count in range(1, 5):
            await asked(served)
            await collector.until(partial(arrived, collector, count))
        assert 0 == (await served.end()).status

    assert [f"the collector answered {status}"] == logged(served, "tracing_fault")
    assert {b"/api/v2/v1/traces"} == {arrival.target for arrival in collector.arrivals}
    assert quiet(served)


async def test_a_collector_that_hangs_delays_nothing(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """A collector that never answers delays no request, and the end of the process by at most two seconds."""
    collector.reply = collector.hang
    async with traced(tmp_path, upstream, collector) as served:
        await asked(served)
        await collector.until(lambda: len(collector.arrivals) == 1)
        slowest = max([await asked(served) for _ in range(20)])
        began = time.perf_counter()
        status = (await served.end()).status
        lasted = time.perf_counter() - began

    assert 0 == status
    assert slowest < SOON
    assert 1.9 < lasted < 5
    assert ["what was left could not be sent within 2 s"] == logged(served, "tracing_fault")
    assert quiet(served)


async def test_what_is_left_is_sent_at_the_end(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """SIGTERM sends the spans that still wait, those of requests that the drain finished among them."""
    upstream.reply = slow = Slow()
    environ = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    async with traced(tmp_path, upstream, collector, environ) as served:
        await asked_first(slow, served)
        late = asyncio.create_task(served.ask())
        await upstream.until(lambda: len(upstream.arrivals) == 2)
        assert [] == collector.arrivals
        end = asyncio.create_task(served.end())
        await served.until_said(b'"event":"draining"')
        slow.go.set()
        assert (200, 0) == ((await late).status, (await end).status)
        spans = await collector.spans(4)

    assert ["SERVER", "CLIENT"] * 2 == [span.kind for span in spans]
    assert [] == logged(served, "tracing_fault")


class Slow:
    """Answers once it may."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, arrival: Any, writer: asyncio.StreamWriter) -> None:
        await self.go.wait()
        writer.write(answer())


async def asked_first(slow: Slow, served: Served) -> None:
    slow.go.set()
    await asked(served)
    slow.go.clear()


async def test_a_burst_is_bounded_and_what_is_dropped_is_told(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """No more spans wait than OTEL_BSP_MAX_QUEUE_SIZE says; the oldest go, and the log says how many, once."""
    collector.reply = slow = Slow()
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "20", "OTEL_BSP_SCHEDULE_DELAY": "1"}
    async with traced(tmp_path, upstream, collector, environ) as served:
        await asked(served)
        await collector.until(lambda: len(collector.arrivals) == 1)
        first = len(collector.all_spans())
        await served.send(head() * 30)
        await upstream.until(lambda: served.out.count(b'"endpoint"') == 31)
        slow.go.set()
        await served.until_said(b"faster than they could be sent")
        assert 0 == (await served.end()).status

    assert [f"spans ended faster than they could be sent: {60 - 20 + 2 - first} dropped"] == logged(
        served, "tracing_fault"
    )
    assert 20 + first == len(collector.all_spans())
    assert quiet(served)


async def test_no_secret_is_in_what_is_sent(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """Broken and hostile requests, with secrets in every place, and answers that echo the key put none into a span."""
    places = f"/api/v2/threads/{TOKEN}?key={KEY}"
    fields = (f"X-Api-Key: {KEY}", f"baggage: {KEY}", f"User-Agent: {KEY}", f"X-Request-Id: {KEY}", f"Cookie: {TOKEN}")
    state = (f"traceparent: 00-{'4b' * 16}-{'00f0' * 4}-01", f"tracestate: a={KEY}")
    upstream.reply = answer(418, b'{"error":{"code":"%b"}}' % KEY.encode(), fields=(f"X-Request-Id: {KEY}",))
    requests = [
        *wire_rows(),
        *mangled(),
        head("GET", places, *fields),
        head("GET", places, *state),
        head(TOKEN, places),
        head("POST", "/api/v2/threads", f"Content-Length: {len(KEY)}") + KEY.encode(),
    ]
    async with traced(tmp_path, upstream, collector) as served:
        await served.send_all(requests)
        assert 0 == (await served.end()).status
    sent = bytes(collector.received) + b"".join(arrival.body for arrival in collector.arrivals)

    assert len(collector.all_spans()) > 300
    assert [] == found({"sent": sent})
    assert {""} == {span.state for span in collector.all_spans()}
    assert b"threads/" + TOKEN.encode() not in sent


async def test_the_environment_leads_no_span_elsewhere(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """Proxies, a `.netrc` and a cookie of the collector's are ignored: spans go straight to it, with nothing else."""
    collector.reply = answer(200, b"", fields=("Set-Cookie: id=plundered; Path=/",))
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login thief password plundered\ndefault login thief password plundered\n")
    netrc.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"127.0.0.1:{proxy.getsockname()[1]}"
        names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
        environ = dict.fromkeys(names, f"http://thief:plundered@{address}")
        environ |= {"NO_PROXY": "", "no_proxy": "", "HOME": str(tmp_path), "NETRC": str(netrc)}
        async with traced(tmp_path, upstream, collector, environ) as served:
            for count in (2, 4):
                await asked(served)
                await collector.spans(count)
    fields = {name.lower() for arrival in collector.arrivals for name, _ in arrival.fields}

    assert not fields & {"authorization", "proxy-authorization", "cookie"}
    assert b"plundered" not in collector.received
    # Kept open, so that no batch pays for a handshake.
    assert 1 == collector.connections


WANTED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        (WANTED | {"OTEL_SDK_DISABLED": "True"}, None),
        (WANTED | {"OTEL_TRACES_EXPORTER": "none"}, None),
        (WANTED | {"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is `zipkin`, and only `otlp` or `none`"),
        (WANTED | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`, and only `http/pr"),
        (WANTED | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": KEY}, "OTEL_EXPORTER_OTLP_PROTOCOL is something else"),
    ],
    ids=["unset", "empty", "disabled", "none", "zipkin", "grpc", "pasted"],
)
async def test_where_it_is_off_nothing_of_it_is_loaded(
    tmp_path: Path, upstream: Upstream, environ: dict[str, str], said: str | None
) -> None:
    """Without the variables, or if tracing is unavailable, the gateway loads no OpenTelemetry module."""
    program = (
        "import atexit, sys; from gateway.cli import main; names = ('opentelemetry', 'requests', 'google.protobuf')\n"
        "atexit.register(lambda: print([m for m in sys.modules if m.startswith(names)], file=sys.stderr)); main()"
    )
    async with serving(tmp_path, upstream, program=("-c", program), environ=environ) as served:
        await asked(served)
        assert 0 == (await served.end()).status
        await served.until_said(b"]")
    reasons = logged(served, "tracing_off")

    assert b"[]" == served.err.strip()
    assert [] == [line for line in served.lines() if line.get("event") == "tracing_on"]
    assert (0 if said is None else 1) == len(reasons)
    assert all(reason.startswith(str(said)) for reason in reasons)


async def test_a_gateway_without_the_extra_says_what_to_install(tmp_path: Path, upstream: Upstream) -> None:
    """If a variable asks for tracing without its library, the gateway serves with one warning."""
    program = "import sys; sys.modules['opentelemetry'] = None; from gateway.cli import main; main()"
    async with serving(tmp_path, upstream, program=("-c", program), environ=WANTED) as served:
        await asked(served)
        assert 0 == (await served.end()).status
    (line,) = [line for line in served.lines() if "tracing" in line.get("event", "")]

    assert ("tracing_off", "warning") == (line["event"], line["level"])
    assert line["reason"].endswith("install productlane-gateway[tracing]")


@pytest.mark.parametrize(
    "variable",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": KEY},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://[{KEY}"},
    ],
    ids=["queue", "limit", "endpoint"],
)
async def test_a_variable_that_cannot_be_used_is_told(
    tmp_path: Path, upstream: Upstream, variable: dict[str, str]
) -> None:
    """With a value that the library refuses the gateway serves; one warning says so without the value."""
    async with serving(tmp_path, upstream, environ=WANTED | variable) as served:
        await asked(served)
        assert 0 == (await served.end()).status
    (reason,) = logged(served, "tracing_off")

    assert reason.startswith("the library does not take the value of one of the variables OTEL_*: ValueError at ")
    assert [] == found({"out": bytes(served.out), "err": bytes(served.err)})


def story(number: int) -> FinishedSpan:
    """A span with this number."""
    context = SpanContext(1, number, is_remote=False, trace_flags=TraceFlags(1))
    return FinishedSpan(context, None, SpanKind.SERVER, 0, 1, Record(method="GET", status=200), number)


async def test_a_fault_is_over_once_it_has_been_calm(collector: Collector) -> None:
    """A flapping collector gets one fault event, one recovery event after a minute without faults, then a new one."""
    said: list[Event] = []
    now = 0.0
    session = Session()
    exporter = Exporter(
        OTLPSpanExporter(f"{collector.url}/v1/traces", session=session),
        session,
        Describe(Resource({}), {}),
        emit=said.append,
        clock=lambda: now,
    )
    for number, (at, reply) in enumerate(
        [(0, TAKEN), (1, answer(500)), (2, TAKEN), (60, answer(500)), (61, TAKEN), (119, TAKEN), (120, TAKEN)], 1
    ):
        now, collector.reply = float(at), reply
        await asyncio.to_thread(exporter.export, [story(number)])  # type: ignore[list-item]
    assert [TracingFault("the collector answered 500"), TracingBack()] == said

    await asyncio.to_thread(exporter.export, [story(10)])  # type: ignore[list-item]
    exporter.shutdown()
    assert [TracingFault("spans ended faster than they could be sent: 2 dropped")] == said[2:]
