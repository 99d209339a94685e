"""What callers cost that begin a head and never end it: `python -m bench.half_open [--connections 10000]`.

Starts a gateway of its own, opens the connections, and prints its memory for each, how long other callers wait
meanwhile against before, and how long until all are gone. The bounds are those of the project's notes on security: 8 kB
each, p99 of others at most 25 ms, gone 2 s after `limits.head_timeout`. Exit status 1 where one is not kept. Linux.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

HEAD_TIMEOUT = 30.0
BYTES_EACH = 8192
P99_MS = 25.0
REAP_SECONDS = 2.0
BEGUN = b"GET /api/v2/threads HTTP/1.1\r\nHost: gateway.test\r\nX-Fi"
OTHER = b"GET /api/v2/nothing HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n"


def configure(folder: Path, connections: int) -> Path:
    """A configuration with one key, one anonymous caller and room for the connections."""
    (folder / "policies").mkdir()
    policy = {"caller": "app", "authenticate": {"anonymous": True}, "scopes": ["threads:read"]}
    (folder / "policies" / "app.yaml").write_text(yaml.safe_dump(policy))
    settings = {
        "listen": f"unix:{folder}/gateway.sock",
        "admin": "127.0.0.1:0",
        "upstream": {"url": "http://127.0.0.1:9/api/v2"},
        "keys": {"main": {"secrets": ["env:MAIN_KEY"]}},
        "routes": [{"path": "/**", "keys": ["main"]}],
        "identity": {"prefetch": False},
        "limits": {
            "head_timeout": f"{HEAD_TIMEOUT:g}s",
            "connections": connections + 100,
            "connections_per_address": connections + 100,
        },
    }
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def resident(process: subprocess.Popen[bytes]) -> int:
    """The bytes that a process has in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def waits(address: str, count: int) -> list[float]:
    """How long ordinary requests take, connection and all, in milliseconds."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await asyncio.open_unix_connection(address)
        writer.write(OTHER)
        await reader.read()
        found.append((time.perf_counter() - began) * 1000)
        writer.close()
    return found


async def measure(address: str, process: subprocess.Popen[bytes], connections: int) -> bool:
    """Open, measure, wait until all are gone; prints, and tells whether the bounds were kept."""
    alone = await waits(address, 500)
    before = resident(process)
    held = []
    for _ in range(connections):
        reader, writer = await asyncio.open_unix_connection(address)
        writer.write(BEGUN)
        held.append((reader, writer))
    last = time.perf_counter()
    each = (resident(process) - before) / connections
    among = await waits(address, 500)
    await asyncio.gather(*(reader.read() for reader, _ in held))
    gone = time.perf_counter() - last
    for _, writer in held:
        writer.close()
    p99 = statistics.quantiles(among, n=100)[98]
    print(f"{connections} half-sent heads: {each:.0f} B each (bound {BYTES_EACH})")
    print(f"others: p50 {statistics.median(among):.2f} ms, p99 {p99:.2f} ms (bound {P99_MS:g})")
    print(f"others before: p50 {statistics.median(alone):.2f} ms, p99 {statistics.quantiles(alone, n=100)[98]:.2f} ms")
    print(f"all gone {gone:.1f} s after the last began (bound {HEAD_TIMEOUT + REAP_SECONDS:g})")
    return each <= BYTES_EACH and p99 <= P99_MS and gone <= HEAD_TIMEOUT + REAP_SECONDS


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    connections = parser.parse_args().connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, connections + 1000), hard))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = configure(folder, connections)
        environ = {**os.environ, "MAIN_KEY": "pl_v2_bench-0123456789abcdef"}
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(path)]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        try:
            socket = folder / "gateway.sock"
            for _ in range(200):
                with contextlib.suppress(OSError):
                    asyncio.run(waits(str(socket), 1))
                    break
                time.sleep(0.05)
            return 0 if asyncio.run(measure(str(socket), process, connections)) else 1
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
