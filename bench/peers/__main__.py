"""What the gateway costs beside other proxies, in one run of about eight minutes, as Markdown: `make bench`.

    python -m bench.peers [--only gateway nginx Envoy] [--rounds 5] [--seconds 1.2] [--calls 1000] [--write]

A turn of a peer in a round takes about ``--seconds``; ``--calls`` at 200 a second give the latency. ``--write`` writes
docs/performance.md and .svg too, ``--json FILE`` the figures.

All attach a key. nginx, HAProxy, Envoy, Caddy and Traefik log a line for each request, to nowhere. The gateway, set up
as a central one, also knows its caller by a token, decides by policy, chooses a key, keeps the rate budget and counts.
Load and upstream share one core and the proxy has another. Peers take turns in every round and medians count, so
compare only within a run. A peer that is not installed is left out and named. Loopback only; Linux, two cores.
"""

import asyncio
import json
import statistics
import sys
from pathlib import Path
from typing import Final

from bench.command import options
from bench.peers.report import ROWS, Figures, heading, plot, table
from bench.peers.setups import PEERS, version
from bench.peers.stage import Running, busy, latencies, left_alone, stage, streamed
from bench.peers.traffic import GET, POST
from bench.report import put

_DOCS: Final = Path(__file__).parents[2] / "docs"
_STARTS: Final = 5
_RATE: Final = 200.0


def figures(names: list[str], rounds: int, seconds: float, calls: int) -> Figures:
    """All figures, by peer and by row of the table."""
    with stage(names, starts=_STARTS) as (port, plain):
        left_alone(plain.values())
        busy(plain.values(), rounds, seconds, "GET", GET)
        busy(plain.values(), rounds, seconds, "POST 1 kB", POST)
        took = asyncio.run(latencies({"direct": port} | {name: one.port for name, one in plain.items()}, calls, _RATE))
        streamed(plain.values())
    with stage(names, secure=True) as (_, tls):
        busy(tls.values(), rounds, seconds, "GET, TLS upstream", GET)
        busy(tls.values(), rounds, seconds, "POST 1 kB, TLS upstream", POST)
    return {name: _row(one, tls[name], took[name], took["direct"]) for name, one in plain.items()}


def _row(plain: Running, tls: Running, took: list[float], direct: list[float]) -> dict[str, float]:
    """The figures of one peer, in the units of `ROWS`."""
    late = [took[int(len(took) * at)] - direct[int(len(direct) * at)] for at in (0.5, 0.99)]
    cpu = {kind: statistics.median(seconds) * 1e6 for kind, seconds in (plain.cpu | tls.cpu).items()}
    found = cpu | {
        "added p50": late[0] * 1e6,
        "added p99": late[1] * 1e6,
        "start to first answer": statistics.median(plain.starts) * 1000,
        "idle memory": plain.idle,
        "idle CPU a minute": plain.idle_cpu * 60 * 1000,
        "CPU a GB": plain.stream_cpu * 1000,
        "memory grown by a large answer": plain.stream_grew,
    }
    return {row: found[row] for row in ROWS}


def main() -> None:
    """Run it and print the table."""
    parser = options(__doc__, rounds=5, seconds=1.2, calls=1000, write=False)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="PEER")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    wanted = [name for name in PEERS if name in ("gateway", *asked.only)]
    versions = {name: told for name in wanted if (told := version(name))}
    missing = [name for name in wanted if name not in versions]
    for name in missing:
        print(f"not installed: {name}", file=sys.stderr)
    head = heading(versions, missing)
    found = figures(list(versions), asked.rounds, asked.seconds, asked.calls)
    if asked.json:
        asked.json.write_text(json.dumps({"head": head, "peers": found}, indent=1, ensure_ascii=False) + "\n")
    text = f"{head}\n\n{table(found)}"
    print(text)
    if asked.write:
        put(_DOCS / "performance.md", "bench.peers", text)
        (_DOCS / "performance.svg").write_text(plot(found))


if __name__ == "__main__":
    main()
