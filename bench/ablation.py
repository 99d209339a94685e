"""What each feature costs: CPU per request and memory, each a multiple of the full set-up, in one run, as Markdown.

    python -m bench.ablation [--rounds 5] [--seconds 0.8] [--only full "no log"]

All set-ups run at once and take turns, as in `bench.peers`. ``full`` is the one of `bench.peers`: callers' tokens, a
policy, two keys, rate budget, log and metrics. What has no setting is taken out of the process as it starts. Tracing
needs the extra, and a count that replicas share a `redis-server`; what is missing is left out and named.
"""

import importlib.util
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from bench.command import options
from bench.peers.setups import gateway_settings
from bench.peers.stage import Around, Running, around, busy, started
from bench.peers.traffic import GET
from bench.peers.tutorials import KEY
from bench.report import microseconds, ratio, table

_RUN: Final = "from gateway.cli import main; main()"
_NOTHING: Final = "lambda *_: None"
# A sidecar without credentials refuses one that it does not know, and names of others in Host.
_BARE: Final = re.sub(rb"Authorization: .*\r\n", b"", GET).replace(b"Host: gateway", b"Host: localhost")
_CAP: Final = {"limits": {"reads_per_minute": 1_000_000}}
_ONE_KEY: Final = {"keys": {"one": {"secrets": ["env:BENCH_KEY"]}}, "routes": [{"path": "/**", "keys": ["one"]}]}
_NO_BUDGET: Final = """
from gateway.budgets import pacing
class Free:
    sent = failed = released = lambda self, *_: None
    answered = lambda self, *_: b"RateLimit: none"
FREE = Free()
pacing.Pacer.take = lambda *_: FREE
"""


@dataclass(frozen=True)
class Variant:
    """How a set-up differs from the full one: settings, the caller's policy, the environment, and what is taken out."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    without: str = ""
    sidecar: bool = False
    tls_listener: bool = False
    tls_upstream: bool = False


def variants(redis: int, collector: int) -> dict[str, Variant]:
    """All set-ups, with the ports of Redis and of a collector of traces."""
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}"}
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    return {
        "full": Variant(),
        "no log of requests": Variant({"log": {"level": "error"}}),
        "no metrics": Variant(without=f"from gateway.telemetry import tally; tally.Tally.count = {_NOTHING}"),
        "no count of use for the status": Variant(
            without=f"from gateway.telemetry import usage; usage.Usage.count = {_NOTHING}"
        ),
        "no rate budget": Variant(without=_NO_BUDGET),
        "one key, not a choice of two": Variant(_ONE_KEY),
        "a sidecar: no callers' tokens": Variant(sidecar=True),
        "a cap on the caller": Variant(policy=_CAP),
        "a cap on the caller, counted in Redis": Variant({"store": f"redis://127.0.0.1:{redis}/0"}, _CAP),
        "/me asked each second": Variant({"identity": {"ttl": "1s"}}),
        "TLS to callers": Variant(tls_listener=True),
        "TLS to the upstream": Variant(tls_upstream=True),
        "tracing": Variant(environ=traced),
        "tracing of one in a hundred": Variant(environ=traced | sampled),
    }


def lacking(name: str) -> str:
    """What a set-up needs and is not installed; mostly empty."""
    if "Redis" in name and shutil.which("redis-server") is None:
        return "redis-server"
    if "tracing" in name and importlib.util.find_spec("opentelemetry") is None:
        return "productlane-gateway[tracing]"
    return ""


@contextmanager
def redis_server(beside: Around) -> Iterator[int]:
    """The port of a Redis, which runs where it is installed."""
    place = beside.place()
    if shutil.which("redis-server") is None:
        yield place.port
        return
    command = ["redis-server", "--port", str(place.port), "--save", "", "--dir", str(place.folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield place.port
        finally:
            process.terminate()


def run(name: str, variant: Variant, beside: Around) -> Running:
    """One set-up that serves."""
    place = beside.place(secure=variant.tls_upstream)
    start = ["-m", "gateway"] if not variant.without else ["-c", f"{variant.without}\n{_RUN}"]
    command = [sys.executable, *start, "serve"]
    if variant.sidecar:
        environ = {"PRODUCTLANE_KEY": KEY, "PRODUCTLANE_SCOPES": "threads:read"}
        command += [
            "--listen",
            f"127.0.0.1:{place.port}",
            "--admin",
            "127.0.0.1:0",
            "--upstream",
            f"{place.url}/api/v2",
        ]
        return started(name, command, place.port, environ, requests=(_BARE,))
    listener = {"tls": {"certificate": beside.pem, "private_key": beside.pem}} if variant.tls_listener else {}
    file = place.folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({**gateway_settings(place, variant.policy), **variant.settings, **listener}))
    trust = ssl.create_default_context(cafile=str(place.ca)) if variant.tls_listener else None
    return started(name, [*command, "--config", str(file)], place.port, variant.environ, tls=trust)


def main() -> None:
    """Run them all and print the table."""
    parser = options(__doc__, rounds=5, seconds=0.8)
    names = list(variants(0, 0))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SET-UP")
    asked = parser.parse_args()
    wanted = [name for name in names if name in ("full", *asked.only)]
    for name in wanted:
        if missing := lacking(name):
            print(f"not installed: {missing}, for: {name}", file=sys.stderr)
    with around() as beside, redis_server(beside) as redis, ExitStack() as stack:
        every = variants(redis, beside.plain)
        running = [stack.enter_context(run(name, every[name], beside)) for name in wanted if not lacking(name)]
        busy(running, asked.rounds, asked.seconds)
        full = running[0].cpu["GET"]
        rows = [
            (one.name, microseconds(one.cpu["GET"]), ratio(one.cpu["GET"], full), f"{one.memory():.0f}")
            for one in running
        ]
    print(table(("set-up", "CPU µs a request", "× full", "memory MB"), rows))


if __name__ == "__main__":
    main()
