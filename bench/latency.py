"""What the gateway costs: start to ready, idle memory, and the latency it adds to a call, as a ratio in one run.

    python -m bench.latency [--count 3000] [--rate 200]

The upstream is a bare responder in a process of its own; direct and gateway calls alternate on kept connections, so
that whatever else the machine does weighs on both alike. Loopback only; it ends by itself.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

BODY: Final = b'{"data":"' + b"x" * 1000 + b'"}'
ME: Final = b'{"workspace_id":"w","api_key_id":"k","scopes":["threads:read","threads:write"]}'
REQUEST: Final = b"GET /api/v2/threads HTTP/1.1\r\nHost: bench\r\n\r\n"
ENVIRON: Final = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PRODUCTLANE_KEY": "pl_v2_of-the-bench-0001",
    "PRODUCTLANE_SCOPES": "threads:read",
    "PRODUCTLANE_GATEWAY_DRAIN_DELAY": "0s",
}


def upstream(tell: Connection) -> None:
    """Answers every request at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = ME if b" /api/v2/me " in head else BODY
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def started(port: int, listen: int, admin: int) -> tuple[subprocess.Popen[bytes], float]:
    """A gateway, and the seconds from exec until it says that it is ready."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gateway", "serve", "--upstream", f"http://127.0.0.1:{port}/api/v2"),
            *("--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"),
        ],
        env=ENVIRON,
        stdout=subprocess.DEVNULL,
    )
    while time.perf_counter() - began < 10:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=1).close()
        except OSError:
            time.sleep(0.002)
        else:
            return process, time.perf_counter() - began
    raise SystemExit("the gateway did not become ready in 10 s")


def resident(pid: int) -> float:
    """Resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return time.perf_counter() - began


async def measured(ports: Mapping[str, int], count: int, rate: float, request: bytes) -> dict[str, list[float]]:
    """The seconds of each call, the ways alternating, at a steady rate; the first hundred warm up and do not count."""
    ways = {way: await asyncio.open_connection("127.0.0.1", port) for way, port in ports.items()}
    took: dict[str, list[float]] = {way: [] for way in ways}
    for n in range(count + 100):
        for way, streams in ways.items():
            seconds = await call(*streams, request)
            if n >= 100:
                took[way].append(seconds)
        await asyncio.sleep(1 / rate)
    for _, writer in ways.values():
        writer.close()
    return took


def main() -> None:
    """Run it and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=3000)
    arguments.add_argument("--rate", type=float, default=200)
    options = arguments.parse_args()
    here, there = multiprocessing.Pipe()
    responder = multiprocessing.Process(target=upstream, args=(there,), daemon=True)
    responder.start()
    port = here.recv()
    ready = []
    for _ in range(5):
        process, seconds = started(port, 18080, 19090)
        ready.append(seconds)
        process.terminate()
        process.wait()
    process, _ = started(port, 18080, 19090)
    time.sleep(1)
    idle = resident(process.pid)
    took = asyncio.run(measured({"direct": port, "gateway": 18080}, options.count, options.rate, REQUEST))
    busy = resident(process.pid)
    process.terminate()
    process.wait()
    responder.terminate()
    print(f"exec to ready      {statistics.median(ready) * 1000:.0f} ms (median of {len(ready)})")
    print(f"memory             {idle:.1f} MB idle, {busy:.1f} MB after {options.count} calls")
    for name, at in (("p50", 0.5), ("p99", 0.99)):
        direct, through = (sorted(took[way])[int(len(took[way]) * at)] * 1e6 for way in ("direct", "gateway"))
        added, ratio = through - direct, through / direct
        print(f"{name}  direct {direct:.0f} µs, gateway {through:.0f} µs: +{added:.0f} µs, ×{ratio:.2f}")


if __name__ == "__main__":
    main()
