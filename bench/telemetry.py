"""What reporting costs: a finished request, and a scrape of many series while the loop has other work.

    python -m bench.telemetry [--series 5000]

Prints one line of JSON: microseconds for each request (tally, usage and log line, each alone and together), the same
counts by prometheus-client and the same line by `logging`, and for a scrape its CPU, its size and the longest time that
the loop stood still. prometheus-client renders the same series for comparison. As in `serve`, what was made up to the
start is not looked through for garbage: such a search takes 10 ms here, and falls into one scrape in twenty.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import prometheus_client

from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record
from gateway.telemetry.reporter import Reporter
from gateway.telemetry.usage import Usage

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


def per_call(work: Callable[[], object], rounds: int = 50_000) -> float:
    """Microseconds of CPU for one call, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            work()
        best = min(best, (time.process_time() - began) / rounds * 1e6)
    return round(best, 2)


def requests() -> dict[str, float]:
    """What one finished request costs, by part."""
    null = os.open(os.devnull, os.O_WRONLY)
    log, metrics, usage = Log(null), Metrics(), Usage()
    metrics.know(callers=["app"], endpoints=_ENDPOINTS, keys=["main"])
    reporter, one = Reporter(log, metrics, usage), record("app", _ENDPOINTS[0])
    registry = prometheus_client.CollectorRegistry()
    labels = ["caller", "endpoint", "status", "source"]
    counter = prometheus_client.Counter("requests", "Requests.", labels, registry=registry)
    histogram = prometheus_client.Histogram("duration", "Time.", ["lane", "source"], registry=registry)
    logger = logging.Logger("bench")
    logger.addHandler(logging.StreamHandler(open(null, "w", closefd=False)))  # noqa: SIM115

    def library() -> None:
        counter.labels(one.caller, one.endpoint, "200", one.source).inc()
        histogram.labels(one.lane, one.source).observe(one.duration_ms / 1000)
        histogram.labels(one.lane, one.source).observe(0.08)

    found = {
        "tally": per_call(lambda: metrics.count(one)),
        "usage": per_call(lambda: usage.count(one)),
        "log": per_call(lambda: log.request(one), 10_000),
        "all": per_call(lambda: reporter.finished(one), 10_000),
        "prometheus_client": per_call(library),
        "logging": per_call(lambda: logger.info(json.dumps({"caller": one.caller, "status": one.status})), 10_000),
    }
    log.close()
    return found


async def longest_gap(work: Callable[[], object]) -> tuple[float, float]:
    """How late, in ms, the latest turn of the loop was while a thread worked, and the most CPU before any turn.

    Lateness without CPU is the machine's, not the work's.
    """
    loop, longest, busiest = asyncio.get_running_loop(), 0.0, 0.0
    with ThreadPoolExecutor(1) as pool:
        working = loop.run_in_executor(pool, work)
        while not working.done():
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began - 0.001)
            busiest = max(busiest, time.process_time() - used)
        await working
    return longest * 1000, busiest * 1000


def spread(numbers: Iterable[float]) -> dict[str, float]:
    """The median and the largest."""
    found = sorted(numbers)
    return {"median": round(found[len(found) // 2], 2), "longest": round(found[-1], 2)}


async def scrape(metrics: Metrics) -> dict[str, object]:
    """A scrape in a thread, and the longest time that a timer of 1 ms came late; the same with nothing to render."""
    gaps = [await longest_gap(metrics.render) for _ in range(20)]
    quiet = [await longest_gap(lambda: time.sleep(0.02)) for _ in range(20)]
    text = metrics.render()
    began = time.process_time()
    metrics.render()
    return {
        "cpu_ms": round((time.process_time() - began) * 1000, 1),
        "series": sum(not line.startswith(b"#") for line in text.splitlines()),
        "kilobytes": round(len(text) / 1000),
        "gap_ms": spread(late for late, _ in gaps),
        "gap_ms_without": spread(late for late, _ in quiet),
        "gap_cpu_ms": spread(busy for _, busy in gaps),
        "gap_cpu_ms_without": spread(busy for _, busy in quiet),
    }


def library_scrape(series: int) -> float:
    """Milliseconds of CPU that prometheus-client takes to render as many series."""
    registry = prometheus_client.CollectorRegistry()
    labels = ["caller", "endpoint", "status", "source"]
    counter = prometheus_client.Counter("requests", "Requests.", labels, registry=registry)
    for number in range(series):
        counter.labels(f"caller{number // 50}", _ENDPOINTS[number % 50], "200", "upstream").inc()
    began = time.process_time()
    prometheus_client.generate_latest(registry)
    return round((time.process_time() - began) * 1000, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=5000)
    asked = parser.parse_args()
    gc.freeze()
    metrics = Metrics()
    callers = [f"caller{number}" for number in range(asked.series // 50)]
    metrics.know(callers=callers, endpoints=_ENDPOINTS, keys=["main"])
    for caller in callers:
        for endpoint in _ENDPOINTS:
            metrics.count(record(caller, endpoint))
    found = {"request_us": requests(), "scrape": asyncio.run(scrape(metrics))}
    print(json.dumps(found | {"prometheus_client_scrape_cpu_ms": library_scrape(asked.series)}))


if __name__ == "__main__":
    main()
