"""The spans of a request as a collector reads them, and what the upstream and the log say of the same."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector import Collector, Span, traced
from tests.support.in_process import policy
from tests.support.raw_caller import head
from tests.support.recording import Arrival, Upstream, answer, error
from tests.support.sentinels import KEY, OTHER_KEY
from tests.support.served import Served, serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CALLERS = f"traceparent: 00-{TRACE}-{PARENT}-01"


def logged(served: Served) -> list[dict[str, Any]]:
    """The lines of requests so far."""
    return [line for line in served.lines() if "endpoint" in line]


def traceparents(upstream: Upstream) -> list[str]:
    return [value for arrival in upstream.arrivals for value in arrival.all("traceparent")]


def failing(span: Span) -> tuple[bool, Any]:
    """Whether a span failed, and why."""
    return span.failed, span.attributes.get("error.type")


async def test_a_request_joins_its_callers_trace_and_the_upstream_joins_it(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """The caller's span is the parent of the gateway's, which is the parent of the client span sent upstream."""
    fields = (CALLERS, "tracestate: rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "tracestate: a=1", "baggage: user=7")
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads/th_1", *fields)
        await served.until_said(b'"endpoint"')
        server, client = await collector.spans(2)
    (arrival,) = upstream.arrivals
    (line,) = logged(served)

    assert ("SERVER", TRACE, PARENT) == (server.kind, server.trace, server.parent)
    assert ("CLIENT", TRACE, server.id) == (client.kind, client.trace, client.parent)
    assert [f"00-{TRACE}-{client.id}-01"] == arrival.all("traceparent")
    assert ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a=1"] == arrival.all("tracestate")
    assert ["user=7"] == arrival.all("baggage")
    assert TRACE == line["trace_id"]
    assert server.began <= client.began <= client.ended <= server.ended


async def test_spans_tell_of_a_request_what_the_log_tells(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """Names and attributes are those of the HTTP conventions, the rest is the record's, and neither path nor query."""
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads/th_1?limit=1", "User-Agent: me")
        await served.until_said(b'"endpoint"')
        server, client = await collector.spans(2)
    (line,) = logged(served)
    host, port = served.traffic.split(":")
    upstream_port = int(upstream.url.split(":")[2].partition("/")[0])
    shared = {"request_id", "caller", "decision", "reason", "source", "key", "slot", "lane", "wait_ms"}

    assert ["GET /threads/{id}"] * 2 == [server.name, client.name]
    assert {
        "http.request.method": "GET",
        "http.route": "/threads/{id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "server.address": host,
        "server.port": int(port),
    } == {name: value for name, value in server.attributes.items() if not name.startswith("productlane")}
    assert {name: line[name] for name in shared} == server.own()
    assert {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": upstream_port,
        "productlane_gateway.key": "main",
        "productlane_gateway.slot": "1",
    } == client.attributes
    assert abs((server.ended - server.began) / 1_000_000 - line["duration_ms"]) < 0.01


@pytest.mark.parametrize(
    "fields",
    [(), (f"traceparent: 00-{TRACE}-{PARENT}-01-more", "tracestate: a=1"), ("tracestate: a=1",)],
    ids=["none", "broken", "state-alone"],
)
async def test_a_request_without_a_trace_begins_one(
    tmp_path: Path, upstream: Upstream, collector: Collector, fields: tuple[str, ...]
) -> None:
    """A malformed trace of the caller is ignored: the gateway's span starts a trace, which log and upstream name."""
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads", *fields)
        await served.until_said(b'"endpoint"')
        server, client = await collector.spans(2)
    (line,) = logged(served)
    (arrival,) = upstream.arrivals

    assert "" == server.parent
    assert server.trace not in ("", TRACE)
    assert server.trace == client.trace == line["trace_id"]
    # The id is random, which the second bit says (W3C Trace Context level 2).
    assert [f"00-{client.trace}-{client.id}-03"] == arrival.all("traceparent")
    assert [] == arrival.all("tracestate")


@pytest.mark.parametrize("state", ["a=1,a=2", "a = b = c", "A_!=1", ",".join(f"k{n}=v" for n in range(33))])
async def test_a_tracestate_that_cannot_be_read_goes_no_further(
    tmp_path: Path, upstream: Upstream, collector: Collector, state: str
) -> None:
    """A `tracestate` that W3C Trace Context (3.3.1) does not allow is dropped; the trace continues."""
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads", CALLERS, f"tracestate: {state}")
        server, _ = await collector.spans(2)

    assert TRACE == server.trace
    assert [] == upstream.arrivals[0].all("tracestate")
    assert [] == [line for line in served.lines() if line.get("logger", "").startswith("opentelemetry")]


async def test_without_tracing_nothing_is_added_to_a_request(tmp_path: Path, upstream: Upstream) -> None:
    """With tracing off, trace fields pass unchanged, and the log has the caller's trace id or none."""
    fields = (CALLERS, "tracestate: a=1, b=2", "baggage: user=7")
    async with serving(tmp_path, upstream) as served:
        await served.ask("/api/v2/threads", *fields)
        await served.ask("/api/v2/threads")
        await served.end()

    assert [*fields] == [f"{name}: {value}" for name, value in upstream.arrivals[0].fields[1:4]]
    assert [] == [name for name, _ in upstream.arrivals[1].fields if name.startswith("trace")]
    assert [TRACE, ""] == [line["trace_id"] for line in logged(served)]


async def test_a_refusal_is_a_span_that_did_not_fail(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """A caller's error does not mark the span as failed: it says who refused and why, and nothing was sent upstream."""
    async with traced(tmp_path, upstream, collector, policies=[policy(deny=["DELETE /threads/{id}"])]) as served:
        await served.ask("/api/v2/threads/th_1", method="DELETE")
        await served.ask("/api/v2/nowhere/th_1")
        await served.send(b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
        denied, unknown, broken = await collector.spans(3)

    assert ["DELETE /threads/{id}", "GET"] == [denied.name, unknown.name]
    assert ["SERVER"] * 3 == [span.kind for span in (denied, unknown, broken)]
    assert [(False, None)] * 3 == [failing(span) for span in (denied, unknown, broken)]
    assert [403, 404, 400] == [span.attributes["http.response.status_code"] for span in (denied, unknown, broken)]
    assert ("deny", "denied", "forbidden", "gateway") == tuple(
        denied.own()[name] for name in ("decision", "reason", "code", "source")
    )
    assert "http.route" not in unknown.attributes


async def test_errors_are_told_as_the_conventions_say(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """A span of a sending fails with any error of the upstream's, that of a request with a server's error alone."""
    upstream.reply = lambda arrival, writer: writer.write(
        error(404, "not_found") if b"gone" in arrival.target else error(503, "made_up")
    )
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads/gone")
        await served.ask("/api/v2/threads/ill")
        server, client, ill, ill_sent = await collector.spans(4)

    assert [(False, None), (True, "404")] == [failing(server), failing(client)]
    assert [(True, "503"), (True, "503")] == [failing(ill), failing(ill_sent)]
    assert ["not_found", "other"] == [server.own()["code"], ill.own()["code"]]


async def test_an_upstream_that_is_not_there_fails_both_spans(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """A failed connection is a failed attempt, and a request that may be repeated has two."""
    await upstream.stop()
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads", method="POST")
        await served.ask("/api/v2/threads")
        post, sent, get, first, second = await collector.spans(5)

    assert [(True, "upstream_unreachable")] * 2 == [failing(post), failing(get)]
    assert [(True, "connection_refused")] * 3 == [failing(span) for span in (sent, first, second)]
    assert 502 == get.attributes["http.response.status_code"]
    assert "http.response.status_code" not in first.attributes


async def test_what_is_sent_again_is_another_span(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """Each attempt has its own id, which the upstream sees, and a number; the first shows how it ended."""
    seen: list[Arrival] = []

    def once(arrival: Arrival, writer: Any) -> None:
        seen.append(arrival)
        writer.close() if len(seen) == 1 else writer.write(answer())

    upstream.reply = once
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads", CALLERS)
        server, first, second = await collector.spans(3)

    assert [(True, "connection_terminated"), (False, None), (False, None)] == [
        failing(span) for span in (first, second, server)
    ]
    assert [None, 1] == [span.attributes.get("http.request.resend_count") for span in (first, second)]
    assert [f"00-{TRACE}-{span.id}-01" for span in (first, second)] == traceparents(upstream)
    assert [server.id] * 2 == [first.parent, second.parent]
    assert first.id != second.id


async def test_another_secret_is_another_span(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """A request that is sent again with the next secret of its key has both slots in its spans."""
    upstream.scopes = {KEY: ("threads:read", "threads:write"), OTHER_KEY: ("threads:read", "threads:write")}
    upstream.reply = lambda arrival, writer: writer.write(
        answer() if arrival.bearer == OTHER_KEY else error(401, "unauthenticated")
    )
    keys = {"main": {"secrets": ["env:MAIN_KEY", "env:SECOND_KEY"]}}
    environ = {"MAIN_KEY": KEY, "SECOND_KEY": OTHER_KEY}
    async with traced(tmp_path, upstream, collector, environ, keys=keys, identity={"prefetch": True}) as served:
        await served.until_said(b'"state":"standby"')
        await served.ask("/api/v2/threads", method="POST")
        server, first, second = await collector.spans(3)

    assert [("1", None), ("2", 1)] == [
        (span.own()["slot"], span.attributes.get("http.request.resend_count")) for span in (first, second)
    ]
    assert [(True, "401"), (False, None)] == [failing(first), failing(second)]
    assert "2" == server.own()["slot"]
    assert traceparents(upstream) == [f"00-{server.trace}-{span.id}-03" for span in (first, second)]


async def test_an_answer_that_breaks_off_is_told_as_a_failure(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """A good status with half a body is a failed answer."""

    def half(arrival: Arrival, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 100_000)
        writer.close()

    upstream.reply = half
    async with traced(tmp_path, upstream, collector) as served:
        await served.send(head("GET", "/api/v2/threads"))
        server, client = await collector.spans(2)

    assert [(True, "upstream_broken"), (False, None)] == [failing(server), failing(client)]


async def test_a_body_that_ends_a_sending_is_told(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """A sending that the caller's own body ends, here by its size, failed for that reason."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with traced(tmp_path, upstream, collector, limits={"body": {"write": 300_000}}) as served:
        await served.send(head("POST", "/api/v2/threads", "Transfer-Encoding: chunked") + chunk * 6 + b"0\r\n\r\n")
        server, client = await collector.spans(2)

    assert [(False, None), (True, "payload_too_large")] == [failing(server), failing(client)]
    assert 413 == server.attributes["http.response.status_code"]


@pytest.mark.parametrize(
    ("sampler", "flags", "sent"),
    [
        ({}, "00", "00"),
        ({}, "01", "01"),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "01", "00"),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, "00", "01"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "01", "00"),
    ],
)
async def test_the_sampler_decides_what_is_told(
    tmp_path: Path,
    upstream: Upstream,
    collector: Collector,
    sampler: dict[str, str],
    flags: str,
    sent: str,
) -> None:
    """As OTEL_TRACES_SAMPLER says, by default as the caller does; the upstream learns it, and the log keeps the id."""
    async with traced(tmp_path, upstream, collector, sampler) as served:
        await served.ask("/api/v2/threads", f"traceparent: 00-{TRACE}-{PARENT}-{flags}", "tracestate: a=1")
        assert 0 == (await served.end()).status
    (line,) = logged(served)
    (header,) = traceparents(upstream)

    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-{sent}", header)
    assert PARENT not in header
    assert ["a=1"] == upstream.arrivals[0].all("tracestate")
    assert TRACE == line["trace_id"]
    assert (2 if sent == "01" else 0) == len(collector.all_spans())


async def test_what_is_not_sampled_is_not_told_as_dropped(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """Requests that are not sampled do not count as a fault of the collector."""
    async with traced(tmp_path, upstream, collector) as served:
        for flags, count in (("01", 2), ("00", 2), ("01", 4)):
            await served.ask("/api/v2/threads", f"traceparent: 00-{TRACE}-{PARENT}-{flags}")
            await collector.spans(count)
        assert 0 == (await served.end()).status

    assert [] == [line for line in served.lines() if line.get("event") == "tracing_fault"]


async def test_the_libraries_variables_are_heeded(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """Name and attributes of the service, fields for the collector, compression and limits are OpenTelemetry's own."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/of-its-own",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=me",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "egress",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.version=7",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "3",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
    }
    async with traced(tmp_path, upstream, collector, environ) as served:
        await served.ask("/api/v2/threads")
        _, client = await collector.spans(2)
    arrival = collector.arrivals[0]
    named = ("service.name", "service.version", "deployment.environment.name", "telemetry.sdk.name")

    assert b"/api/v2/of-its-own" == arrival.target
    assert (["me"], ["gzip"]) == (arrival.all("x-tenant"), arrival.all("Content-Encoding"))
    assert ["egress", "7", "test", "opentelemetry"] == [collector.resource()[name] for name in named]
    assert ("mai", 3) == (client.own()["key"], len(client.attributes))


async def test_the_service_has_a_name_by_itself(tmp_path: Path, upstream: Upstream, collector: Collector) -> None:
    """Without a variable the service name and version are those of the distribution."""
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads")
        await collector.spans(2)
        version = (await served.ask_admin("/status.json")).json["version"]
    scope = collector.batches()[0].resource_spans[0].scope_spans[0].scope
    (started,) = [line for line in served.lines() if line.get("event") == "tracing_on"]

    assert ("productlane-gateway", version) == (
        collector.resource()["service.name"],
        collector.resource()["service.version"],
    )
    assert ("productlane-gateway", version) == (scope.name, scope.version)
    assert f"127.0.0.1:{collector.url.split(':')[2].partition('/')[0]}" == started["address"]


async def test_a_method_of_the_callers_own_is_not_repeated(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """An unknown method may be any text, so its span says `_OTHER`; HEAD stays HEAD."""
    async with traced(tmp_path, upstream, collector) as served:
        await served.ask("/api/v2/threads", method="HEAD")
        await served.ask("/api/v2/threads", method="SECRET")
        known, sent, unknown = await collector.spans(3)

    assert ["HEAD /threads"] * 2 == [known.name, sent.name]
    assert ("HTTP", "_OTHER") == (unknown.name, unknown.attributes["http.request.method"])
    assert "HEAD" == known.attributes["http.request.method"]
    assert b"SECRET" not in collector.received + b"".join(arrival.body for arrival in collector.arrivals)


async def test_a_unix_socket_is_told_as_where_callers_arrive(
    tmp_path: Path, upstream: Upstream, collector: Collector
) -> None:
    """A listener without a host is named by its socket's path, and has no port."""
    path = tmp_path / "g.sock"
    async with traced(tmp_path, upstream, collector, listen=f"unix:{path}") as served:
        assert f"unix:{path}" == served.traffic
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(head("GET", "/api/v2/threads", "Connection: close"))
        await reader.read()
        writer.close()
        server, _ = await collector.spans(2)

    assert str(path) == server.attributes["server.address"]
    assert "server.port" not in server.attributes
