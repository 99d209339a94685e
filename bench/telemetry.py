"""What reporting costs: a finished request, and a scrape of many series while the loop has other work.

    python -m bench.telemetry [--series 5000]

Prints one line of JSON: microseconds for each request (tally, usage and log line, each alone and together), the same
counts by prometheus-client, and for a scrape its CPU, its size and the longest time that
the loop stood still. prometheus-client renders the same series for comparison. As in `serve`, what was made up to the
start is not looked through for garbage: such a search takes 10 ms here, and falls into one scrape in twenty.
"""

import asyncio
import gc
import json
import os
import time
from collections.abc import Callable, Iterable

import prometheus_client

from bench.command import options
from bench.timing import gaps, per_call
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record
from gateway.telemetry.reporter import Reporter
from gateway.telemetry.usage import Usage

_LABELS = ("caller", "endpoint", "status", "source")
_ENDPOINTS = [f"GET /things{number}/{{id}}" for number in range(50)]


def record(caller: str, endpoint: str) -> Record:
    """A request that was served."""
    return Record(
        request_id="req_0123456789abcdef",
        caller=caller,
        endpoint=endpoint,
        method="GET",
        status=200,
        source="upstream",
        decision="allow",
        reason="scope_held",
        key="main",
        slot="1",
        lane="read",
        upstream_ms=80.25123,
        duration_ms=81.512345,
        bytes_out=1024,
    )


def requests() -> dict[str, float]:
    """What one finished request costs, by part."""
    null = os.open(os.devnull, os.O_WRONLY)
    log, metrics, usage = Log(null), Metrics(), Usage()
    metrics.know(callers=["app"], endpoints=_ENDPOINTS, keys=["main"])
    reporter, one = Reporter(log, metrics, usage), record("app", _ENDPOINTS[0])
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("requests", "Requests.", _LABELS, registry=registry)
    histogram = prometheus_client.Histogram("duration", "Time.", ["lane", "source"], registry=registry)

    def library() -> None:
        counter.labels(one.caller, one.endpoint, "200", one.source).inc()
        histogram.labels(one.lane, one.source).observe(one.duration_ms / 1000)
        histogram.labels(one.lane, one.source).observe(0.08)

    found = {
        "tally": per_call(lambda: metrics.count(one)),
        "usage": per_call(lambda: usage.count(one)),
        "log": per_call(lambda: log.request(one)),
        "all": per_call(lambda: reporter.finished(one)),
        "prometheus_client": per_call(library),
    }
    log.close()
    return found


async def scrape(metrics: Metrics) -> dict[str, object]:
    """A scrape in a thread, and the longest gaps between turns of the loop; the same with nothing to render."""
    text = metrics.render()
    found: dict[str, object] = {
        "cpu_ms": cpu_ms(metrics.render),
        "series": sum(not line.startswith(b"#") for line in text.splitlines()),
        "kilobytes": round(len(text) / 1000),
    }
    for name, work in (("", metrics.render), ("_without", lambda: time.sleep(0.02))):
        longest = [(await gaps(asyncio.create_task(asyncio.to_thread(work)).done))[1] for _ in range(20)]
        found[f"gap_ms{name}"] = spread(one[0][0] - 0.001 for one in longest)
        found[f"gap_cpu_ms{name}"] = spread(max(cpu for _, cpu in one) for one in longest)
    return found


def spread(seconds: Iterable[float]) -> dict[str, float]:
    """The median and the largest, in milliseconds."""
    found = sorted(seconds)
    return {"median": round(found[len(found) // 2] * 1000, 2), "longest": round(found[-1] * 1000, 2)}


def cpu_ms(work: Callable[[], object]) -> float:
    """Milliseconds of CPU."""
    began = time.process_time()
    work()
    return round((time.process_time() - began) * 1000, 1)


def library_scrape(series: int) -> float:
    """Milliseconds of CPU that prometheus-client takes to render as many series."""
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("requests", "Requests.", _LABELS, registry=registry)
    for number in range(series):
        counter.labels(f"caller{number // 50}", _ENDPOINTS[number % 50], "200", "upstream").inc()
    return cpu_ms(lambda: prometheus_client.generate_latest(registry))


def main() -> None:
    """Measure and print."""
    series: int = options(__doc__, series=5000).parse_args().series
    gc.freeze()
    metrics = Metrics()
    callers = [f"caller{number}" for number in range(series // 50)]
    metrics.know(callers=callers, endpoints=_ENDPOINTS, keys=["main"])
    for caller in callers:
        for endpoint in _ENDPOINTS:
            metrics.count(record(caller, endpoint))
    found = {"request_us": requests(), "scrape": asyncio.run(scrape(metrics))}
    print(json.dumps(found | {"prometheus_client_scrape_cpu_ms": library_scrape(series)}))


if __name__ == "__main__":
    main()
