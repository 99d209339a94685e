"""What callers cost that begin a head and never end it: `python -m bench.half_open [--connections 10000]`.

Starts a gateway of its own, opens the connections, and prints its memory for each, how long other callers wait
meanwhile against before, and how long until all are gone. The bounds: 8 kB each, p99 of others at most 25 ms, gone 2 s
after `limits.head_timeout`. Exit status 1 where one is not kept. Linux.
"""

import asyncio
import resource
import statistics
import sys
import time

import yaml

from bench.command import options
from bench.peers.setups import gateway_settings
from bench.peers.stage import Running, around, started
from bench.peers.traffic import GET

HEAD_TIMEOUT = 30.0
BYTES_EACH = 8192
P99_MS = 25.0
REAP_SECONDS = 2.0


async def waits(port: int, count: int) -> list[float]:
    """How long ordinary requests take, connection and all, in milliseconds."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await reader.read()
        found.append((time.perf_counter() - began) * 1000)
        writer.close()
    return found


async def measure(one: Running, connections: int) -> bool:
    """Open, measure, wait until all are gone; prints, and tells whether the bounds were kept."""
    alone = await waits(one.port, 500)
    before = one.memory()
    held = []
    for _ in range(connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(GET[:60])
        held.append((reader, writer))
    last = time.perf_counter()
    each = (one.memory() - before) * 1e6 / connections
    among = await waits(one.port, 500)
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
    connections: int = options(__doc__, connections=10_000).parse_args().connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, connections + 1000), hard))
    with around() as beside:
        place, most = beside.place(), connections + 100
        limits = {"head_timeout": f"{HEAD_TIMEOUT:g}s", "connections": most, "connections_per_address": most}
        path = place.folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(gateway_settings(place) | {"limits": limits}))
        with started("gateway", [sys.executable, "-m", "gateway", "serve", "--config", str(path)], place.port) as one:
            return 0 if asyncio.run(measure(one, connections)) else 1


if __name__ == "__main__":
    sys.exit(main())
