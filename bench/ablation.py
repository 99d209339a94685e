"""What each feature costs: CPU per request and memory, each a multiple of the full set-up, in one run, as Markdown.

    python -m bench.ablation [--rounds 5] [--only full "no log"]

All set-ups run at once and take turns, as in `bench.peers`. ``full`` is the one of `bench.peers`: callers' tokens, a
policy, two keys, rate budget, log and metrics. What has no setting is taken out of the process as it starts. Tracing
needs the extra, and a count that replicas share a `redis-server`; what is missing is left out and named.
"""

import argparse
import importlib.util
import multiprocessing
import os
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from bench.latency import resident
from bench.peers.setups import Place, gateway_settings
from bench.peers.stage import CORES, Running, busy, certificate, free_port, started
from bench.peers.traffic import GET, upstream
from bench.peers.tutorials import KEY

_RUN: Final = "from gateway.cli import main; main()"
_NOTHING: Final = "lambda *_: None"


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


# A sidecar without credentials refuses one that it does not know, and names of others in Host.
_BARE: Final = re.sub(rb"Authorization: .*\r\n", b"", GET).replace(b"Host: gateway", b"Host: localhost")
_CAP: Final = {"limits": {"reads_per_minute": 1_000_000}}
_NO_BUDGET: Final = """
from gateway.budgets import pacing
class Free:
    sent = failed = released = lambda self, *_: None
    answered = lambda self, *_: b"RateLimit: none"
FREE = Free()
pacing.Pacer.take = lambda *_: FREE
"""
VARIANTS: Final = {
    "full": Variant(),
    "no log of requests": Variant({"log": {"level": "error"}}),
    "no metrics": Variant(without=f"from gateway.telemetry import tally; tally.Tally.count = {_NOTHING}"),
    "no count of use for the status": Variant(
        without=f"from gateway.telemetry import usage; usage.Usage.count = {_NOTHING}"
    ),
    "no rate budget": Variant(without=_NO_BUDGET),
    "one key, not a choice of two": Variant(
        {"keys": {"one": {"secrets": ["env:BENCH_KEY"]}}, "routes": [{"path": "/**", "keys": ["one"]}]}
    ),
    "a sidecar: no callers' tokens": Variant(sidecar=True),
    "a cap on the caller": Variant(policy=_CAP),
    "a cap on the caller, counted in Redis": Variant({"store": "redis://127.0.0.1:@REDIS@/0"}, _CAP),
    "/me asked each second": Variant({"identity": {"ttl": "1s"}}),
    "TLS to callers": Variant(tls_listener=True),
    "TLS to the upstream": Variant(tls_upstream=True),
    "tracing": Variant(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:@COLLECTOR@"}),
    "tracing of one in a hundred": Variant(
        environ={
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:@COLLECTOR@",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
    ),
}


@dataclass(frozen=True)
class Around:
    """What set-ups run beside: the ports of an upstream with and without TLS and of Redis, and a certificate."""

    plain: int
    secure: int
    redis: int
    folder: Path
    pem: str

    def filled(self, text: str) -> str:
        return text.replace("@REDIS@", str(self.redis)).replace("@COLLECTOR@", str(self.plain))


def lacking(name: str) -> str:
    """What a set-up needs and is not installed; mostly empty."""
    if "Redis" in name and shutil.which("redis-server") is None:
        return "redis-server"
    if "tracing" in name and importlib.util.find_spec("opentelemetry") is None:
        return "productlane-gateway[tracing]"
    return ""


@contextmanager
def around() -> Iterator[Around]:
    """An upstream with and without TLS, and Redis where it is installed."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        pem = certificate(folder)
        ports = []
        for files in (None, pem):
            here, there = multiprocessing.Pipe()
            responder = multiprocessing.Process(target=upstream, args=(there, files), daemon=True)
            responder.start()
            stack.callback(responder.terminate)
            ports.append(here.recv())
        redis = free_port()
        if shutil.which("redis-server"):
            options = ("--port", str(redis), "--save", "", "--dir", name, "--loglevel", "warning")
            process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield Around(ports[0], ports[1], redis, folder, pem[0])


def run(name: str, variant: Variant, beside: Around) -> Running:
    """One set-up that serves."""
    folder = beside.folder / name.replace("/", "")
    folder.mkdir()
    scheme, port = ("https", beside.secure) if variant.tls_upstream else ("http", beside.plain)
    place = Place(folder, free_port(), scheme, port, beside.folder / "ca.pem")
    environ = {name: beside.filled(value) for name, value in variant.environ.items()}
    start = ["-m", "gateway"] if not variant.without else ["-c", f"{variant.without}\n{_RUN}"]
    command = [sys.executable, *start, "serve"]
    if variant.sidecar:
        environ |= {"PRODUCTLANE_KEY": KEY, "PRODUCTLANE_SCOPES": "threads:read"}
        command += [
            "--listen",
            f"127.0.0.1:{place.port}",
            "--admin",
            "127.0.0.1:0",
            "--upstream",
            f"{place.url}/api/v2",
        ]
    else:
        listener = {"tls": {"certificate": beside.pem, "private_key": beside.pem}} if variant.tls_listener else {}
        settings = gateway_settings(place, dict(variant.policy)) | {**variant.settings, **listener}
        (folder / "gateway.yaml").write_text(beside.filled(yaml.safe_dump(settings)))
        command += ["--config", str(folder / "gateway.yaml")]
    trust = ssl.create_default_context(cafile=str(place.ca)) if variant.tls_listener else None
    return started(name, command, place.port, environ, trust, _BARE if variant.sidecar else None)


def main() -> None:
    """Run them all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="how long a set-up's turn in a round is, about")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="SET-UP")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CORES[0]})
    wanted = [name for name in VARIANTS if name in ("full", *options.only)]
    for name in wanted:
        if missing := lacking(name):
            print(f"not installed: {missing}, for: {name}", file=sys.stderr)
    running: list[Running] = []
    with around() as beside:
        try:
            running += (run(name, VARIANTS[name], beside) for name in wanted if not lacking(name))
            busy(running, options.rounds, options.seconds, "GET", GET)
            memory = {one.name: resident(one.process.pid) for one in running}
        finally:
            for one in running:
                one.end()
    full = running[0].cpu["GET"]
    print("| set-up | CPU µs a request | × full | memory MB |\n|---|---:|---:|---:|")
    for one in running:
        # A ratio for each round, since what else the machine does weighs on both alike.
        ratio = statistics.median(cpu / whole for cpu, whole in zip(one.cpu["GET"], full, strict=True))
        cost = statistics.median(one.cpu["GET"]) * 1e6
        print(f"| {one.name} | {cost:.0f} | {ratio:.2f} | {memory[one.name]:.0f} |")


if __name__ == "__main__":
    main()
