"""The tables of `tests.wire` against nginx and HAProxy beside the gateway: ``python -m bench.wire_peers``.

Each peer does the same job as strictly as it allows: it checks one caller's token, lets the catalog's endpoints
through by method and raw target, drops what the gateway drops where it can be named, and attaches a key. What counts is
what comes of a row, not how it is said, as `INTRODUCTION` puts it; framing and the case of names are not compared.
It takes two minutes and prints Markdown.
"""

import argparse
import asyncio
import contextlib
import datetime
import shutil
import sys
from collections.abc import Iterator
from typing import Final

from bench.peers.setups import version
from bench.report import table
from bench.wire_peers.peer import Peer
from bench.wire_peers.setups import ours, spawned
from gateway import __version__
from tests.support.rows import Row, get
from tests.wire import test_expect, test_fields, test_framing, test_limits, test_method, test_response, test_target

INTRODUCTION: Final = """\
# The wire tables against nginx and HAProxy

Made by `python -m bench.wire_peers` on {date}; `bench/peers/` holds the peers' configurations, which are as strict
as the peers allow for the gateway's job. Default configurations pass less.

A row that must be refused passes where no complete request reaches the upstream and the caller gets no 2xx; a row that
must be forwarded passes where exactly its requests arrive, with their fields and bodies; an answer that cannot be
trusted passes where the caller gets an error or sees it cut, and the next caller its own.

A row that a peer fails is not a hole in the peer: it was written for other jobs, and RFC 9112 leaves some of these open
(a bare LF as a line end, `Content-Length` dropped beside `Transfer-Encoding`, a request served behind an offer to
upgrade). Each is a place where two programs can come to read the same bytes in two ways.
"""

REQUESTS: Final = {
    "targets": test_target,
    "framing": test_framing,
    "method, host, version": test_method,
    "fields and credentials": test_fields,
    "Expect": test_expect,
    "head limits": test_limits,
}
# `head-just` does not spell out what arrives; to refuse `rtsp-name`, as the peers do, is no worse than to pass it.
OURS_ALONE: Final = ("head-just", "rtsp-name")
ANSWERS: Final = ("BROKEN", "CUT", "SURPLUS")


def request_rows() -> Iterator[tuple[str, Row]]:
    """Every row of the tables, with its section; rows of a megabyte are left to the suite."""
    for section, module in REQUESTS.items():
        for rows in vars(module).values():
            if isinstance(rows, list):
                yield from ((section, row) for row in rows if isinstance(row, Row) and _compares(row))


def _compares(row: Row) -> bool:
    return len(row.raw) < 1_000_000 and row.name not in OURS_ALONE


Result = dict[str, list[tuple[str, bool]]]


async def tried(peer: Peer) -> Result:
    """Every row on one peer: by section, each row's name and whether it passes."""
    if b"200" not in (await peer.ask(get(), 1))[:20]:
        raise SystemExit(f"{peer.name} does not serve a plain request")
    found: Result = {}
    for section, row in request_rows():
        found.setdefault(section, []).append((row.name, await peer.request_row(row)))
    for kind in ANSWERS:
        for reply in getattr(test_response, kind):
            passes = await peer.answer_row(reply, trusted=kind == "SURPLUS")
            found.setdefault("answers", []).append((f"{kind.lower()}: {reply.name}", passes))
    return found


def as_markdown(results: dict[str, Result]) -> str:
    """The results as Markdown: a table of sections, then the rows that each peer fails."""
    names = list(results)
    sections = {section: len(rows) for section, rows in results[names[0]].items()}
    passed = {section: [sum(passes for _, passes in results[name][section]) for name in names] for section in sections}
    rows: list[list[object]] = [[section, count, *passed[section]] for section, count in sections.items()]
    totals = [sum(sections.values()), *map(sum, zip(*passed.values(), strict=True))]
    rows.append(["**all**", *(f"**{total}**" for total in totals)])
    lines = [table(("section", "rows", *names), rows)]
    for name in names:
        failing = {s: [row for row, passes in results[name][s] if not passes] for s in sections}
        lines += ["", f"### Rows that {name} fails", ""]
        lines += [f"- {section}: `{'`, `'.join(found)}`" for section, found in failing.items() if found] or ["None."]
    return "\n".join(lines).replace("\x00", "\\0")


async def compare(wanted: list[str]) -> str:
    """The whole comparison, as Markdown."""
    peers: dict[str, contextlib.AbstractAsyncContextManager[Peer]] = {f"productlane-gateway {__version__}": ours()}
    if "nginx" in wanted:
        peers[f"nginx {version('nginx')}"] = spawned(
            "nginx", "nginx.conf", lambda path: ["nginx", "-p", str(path.parent), "-c", str(path)]
        )
    if "haproxy" in wanted:
        peers[f"HAProxy {version('HAProxy')}"] = spawned(
            "haproxy", "haproxy.cfg", lambda path: ["haproxy", "-q", "-db", "-f", str(path)]
        )
    results: dict[str, Result] = {}
    for name, starting in peers.items():
        async with starting as peer:
            results[name] = await tried(peer)
    return f"{INTRODUCTION.format(date=datetime.datetime.now(datetime.UTC).date())}\n{as_markdown(results)}"


def main() -> None:
    """Compare with the peers that are installed, or with those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "peers", nargs="*", default=["nginx", "haproxy"], help="nginx, haproxy; both where none is named"
    )
    wanted = parser.parse_args().peers
    if missing := [peer for peer in wanted if shutil.which(peer) is None]:
        sys.exit(f"not installed: {', '.join(missing)}; with apt: apt-get install {' '.join(missing)}")
    print(asyncio.run(compare(wanted)))


if __name__ == "__main__":
    main()
