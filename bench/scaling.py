"""What size costs: CPU per request, memory and a scrape with 10, 1,000 and 5,000 of something, in one run, as Markdown.

    python -m bench.scaling [--sizes 10 1000 5000] [--rounds 5] [--seconds 3] [--only policies]

``policies``: so many callers with a policy each, of which one asks. ``callers``: the same, and all ask in turn, so that
there are as many series of metrics as well. ``endpoints``: so many in the catalog, of which the last is asked.
``connections``: so many callers' connections open, all of which ask. The cost of a request must not grow with the first
and third; with the others it grows as far as the processor's caches do not hold what each request then finds cold.
"""

import hashlib
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from bench.command import options
from bench.peers.setups import gateway_settings
from bench.peers.stage import Around, Running, around, busy, started
from bench.peers.traffic import GET, TOKEN
from bench.report import microseconds, ratio, table

_KINDS: Final = ("policies", "callers", "endpoints", "connections")
# A file of a catalog holds 256 kB at most.
_A_FILE: Final = 1000


class Sized(NamedTuple):
    """A gateway with so many of a kind, and the address of its admin listener."""

    kind: str
    size: int
    one: Running
    admin: str

    def scrape(self) -> float:
        """Milliseconds of CPU for a scrape of the metrics."""
        before = self.one.seconds()
        urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=30).read()
        return (self.one.seconds() - before) * 1000


def callers(size: int, folder: Path) -> tuple[bytes, ...]:
    """So many callers with a policy each; a request of each."""
    tokens = [f"{TOKEN}-{number}" for number in range(size)]
    for number, token in enumerate(tokens):
        digest = hashlib.sha256(token.encode()).hexdigest()
        text = f"caller: caller-{number}\nauthenticate: {{tokens: ['sha256:{digest}']}}\nscopes: [threads:read]\n"
        (folder / "policies" / f"caller-{number}.yaml").write_text(text)
    return tuple(GET.replace(TOKEN.encode(), token.encode()) for token in tokens)


def endpoints(size: int, folder: Path) -> list[str]:
    """The files of a catalog with so many endpoints more."""
    entries = [{"method": "GET", "path": f"/bench{n}/{{id}}", "scopes": ["threads:read"]} for n in range(size)]
    files = {folder / f"catalog{at}.yaml": entries[at : at + _A_FILE] for at in range(0, size, _A_FILE)}
    for file, part in files.items():
        file.write_text(yaml.safe_dump({"endpoints": part}))
    return list(map(str, files))


def gateway(kind: str, size: int, beside: Around) -> Sized:
    """A gateway that serves, with so many of a kind."""
    place, admin = beside.place(), f"127.0.0.1:{beside.place().port}"
    settings = gateway_settings(place) | {"admin": admin, "limits": {"connections_per_address": 100_000}}
    requests: tuple[bytes, ...] = ()
    if kind in ("policies", "callers"):
        every = callers(size, place.folder)
        requests = every if kind == "callers" else ()
    elif kind == "endpoints":
        settings |= {"catalog": endpoints(size, place.folder)}
        requests = (GET.replace(b"/threads", b"/bench%d/one" % (size - 1)),)
    path = place.folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(path)]
    connections = size if kind == "connections" else Running.connections
    one = started(f"{kind} {size}", command, place.port, requests=requests, connections=connections)
    return Sized(kind, size, one, admin)


def main() -> None:
    """Run them all and print the table."""
    parser = options(__doc__, rounds=5, seconds=3.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 5000])
    parser.add_argument("--only", nargs="+", choices=_KINDS, default=_KINDS)
    asked = parser.parse_args()
    with around() as beside, ExitStack() as stack:
        every = [gateway(kind, size, beside) for kind in asked.only for size in asked.sizes]
        for sized in every:
            stack.enter_context(sized.one)
        busy([sized.one for sized in every], asked.rounds, asked.seconds)
        least = {sized.kind: sized.one.cpu["GET"] for sized in reversed(every)}
        rows = [
            (
                sized.kind,
                f"{sized.size:,}",
                microseconds(sized.one.cpu["GET"]),
                ratio(sized.one.cpu["GET"], least[sized.kind]),
                f"{sized.one.memory():.0f}",
                f"{sized.scrape():.1f}",
            )
            for sized in every
        ]
    print(table(("", "size", "CPU µs a request", "× the smallest", "memory MB", "a scrape, CPU ms"), rows))


if __name__ == "__main__":
    main()
