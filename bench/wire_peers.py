"""The tables of `tests.wire` against nginx and HAProxy beside the gateway: ``python -m bench.wire_peers``.

Each peer does the same job as strictly as it allows: it checks one caller's token, lets the catalog's endpoints
through by method and raw target, drops what the gateway drops where it can be named, and attaches a key. What counts is
what comes of a row, not how it is said, as `INTRODUCTION` puts it; framing and the case of names are not compared.
It takes two minutes and prints Markdown.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import datetime
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from gateway import __version__
from gateway.config.assembly.catalog import load_catalog
from tests.support.in_process import running
from tests.support.recording import Arrival, Upstream
from tests.support.rows import Row, get, post
from tests.support.sentinels import KEY, TOKEN
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

HERE: Final = Path(__file__).parent / "peers"
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
# What the gateway drops and can be named; its rules by word and by prefix cannot be said to nginx.
DROPPED: Final = [
    "Cookie", "Cookie2", "Proxy-Authorization", "X-Authorization", "X-Api-Key", "Api-Key", "X-Auth-Token",
    "X-Amz-Security-Token", "X-CSRF-Token", "X-Session-Id", "X-Secret", "X-Productlane-Key", "X-Forwarded-For",
    "X-Forwarded-Proto", "X-Forwarded-User", "X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Prefix",
    "X-Forwarded-Authorization", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP",
    "X-Cluster-Client-IP", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "X-Remote-User",
    "X-Envoy-Original-Path", "X-Host", "Proxy", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade",
    "HTTP2-Settings", "Expect", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
]  # fmt: skip
_FRAMING: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "keep-alive"})
# How long a peer may be silent before a row is taken to be over, and how long a forwarded request may be on its way.
_SILENCE: Final = 0.4
_UNDER_WAY: Final = 0.03


@dataclasses.dataclass(frozen=True)
class Request:
    """A request as the upstream reads it: its line without the version, its fields except framing, and its body."""

    line: bytes
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of(cls, arrival: Arrival) -> "Request":
        """Fields are sorted and their names lower-case, so that requests compare."""
        fields = sorted((name.lower(), value) for name, value in arrival.fields if name.lower() not in _FRAMING)
        return cls(arrival.line.rsplit(b" ", 1)[0], tuple(fields), arrival.body)


class Peer:
    """A proxy on ``port`` in front of ``upstream``."""

    def __init__(self, name: str, port: int, upstream: Upstream) -> None:
        self.name = name
        self.port = port
        self.upstream = upstream

    async def ask(self, raw: bytes, answers: int) -> bytes:
        """Everything that comes back of these bytes until the connection ends, the answers are there, or silence."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        got = bytearray()
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(raw)
            while _answers(bytes(got)) < answers and (piece := await asyncio.wait_for(reader.read(1 << 16), _SILENCE)):
                got += piece
        writer.transport.abort()
        await asyncio.sleep(_UNDER_WAY)
        return bytes(got)

    async def request_row(self, row: Row) -> bool:
        """Whether what comes of a request row is what has to come of it."""
        before = len(self.upstream.arrivals)
        got = await self.ask(row.raw, len(row.status))
        arrived = [Request.of(arrival) for arrival in self.upstream.arrivals[before:] if arrival.complete]
        wanted = await expected(row.upstream)
        if not wanted:
            return not arrived and not re.search(rb"^HTTP/1\.[01] 2", got, re.MULTILINE)
        return wanted == arrived

    async def answer_row(self, reply: test_response.Reply, *, trusted: bool) -> bool:
        """Whether an upstream's answer reaches nobody, or where it can be ``trusted`` nobody but its caller."""
        usual = self.upstream.reply

        def give(_: Arrival, writer: asyncio.StreamWriter) -> None:
            writer.write(reply.raw)
            if reply.ends:
                writer.close()

        self.upstream.reply = give
        raw = post("Content-Length: 5", body=b"hello")
        try:
            got = await self.ask(raw, 1)
        finally:
            self.upstream.reply = usual
        after = await self.ask(get(), 1)
        clean = after.startswith(b"HTTP/1.1 200") and after.endswith(b'{"ok":true}') and b"poison" not in got + after
        whole = bool(re.match(rb"HTTP/1\.1 (?:[0-4]|[6-9])", got)) and bool(_answers(got))
        return clean and (trusted or not whole)


async def expected(raw: bytes) -> list[Request]:
    """The requests of these bytes, as the upstream of the tests reads them."""
    upstream, reader = Upstream(), asyncio.StreamReader(limit=1 << 22)
    reader.feed_data(raw)
    reader.feed_eof()
    found: list[Request] = []
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
            body, _ = await upstream._body(Arrival(head, b""), reader)  # noqa: SLF001 - the reader of the tests
            found.append(Request.of(Arrival(head, body)))
    return found


def _answers(got: bytes) -> int:
    """How many final answers are complete in these bytes."""
    count = 0
    while (end := got.find(b"\r\n\r\n")) >= 0:
        head, rest = got[:end], got[end + 4 :]
        status = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if status is None:
            return count
        if status[1].startswith(b"1"):
            got = rest
        elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            last = rest.find(b"0\r\n\r\n")
            if last < 0:
                return count
            got, count = rest[last + 5 :], count + 1
        else:
            size = int(length[1]) if length and status[1] not in (b"204", b"304") else 0
            if (length is None and status[1] not in (b"204", b"304")) or len(rest) < size:
                return count
            got, count = rest[size:], count + 1
    return count


def request_rows() -> Iterator[tuple[str, Row]]:
    """Every row of the tables, with its section; rows of a megabyte are left to the suite."""
    for section, module in REQUESTS.items():
        for rows in vars(module).values():
            if isinstance(rows, list):
                yield from ((section, row) for row in rows if isinstance(row, Row) and _compares(row))


def _compares(row: Row) -> bool:
    return len(row.raw) < 1_000_000 and row.name not in OURS_ALONE


def endpoints() -> Iterator[str]:
    """What may be asked, as expressions on ``METHOD target``; guarded endpoints are left out."""
    for endpoint in load_catalog().endpoints:
        if not endpoint.guarded:
            methods = "(GET|HEAD)" if endpoint.method == "GET" else endpoint.method
            path = re.sub(r"\\\{[^}]*\\\}", "[A-Za-z0-9._~-]{0,127}[A-Za-z0-9_~-]", re.escape(endpoint.template))
            yield f"^{methods} /api/v2{path.replace(chr(92) + '-', '-')}([?].*)?$"


def written(template: str, folder: Path, port: int, upstream: Upstream) -> Path:
    """A peer's configuration in a folder."""
    filled = {
        "FOLDER": str(folder),
        "PORT": str(port),
        "UPSTREAM": upstream.url.split("/")[2],
        "KEY": KEY,
        "TOKEN": re.escape(TOKEN),
        "ENDPOINTS": "\n".join(f'        "~{rule}" 1;' for rule in endpoints()),
        "CLEARED": "\n".join(f'            proxy_set_header {name} "";' for name in DROPPED),
        "DROPPED": "|".join(name.lower() for name in DROPPED),
    }
    text = re.sub(r"@([A-Z]+)@", lambda found: filled[found[1]], (HERE / template).read_text())
    (folder / "endpoints").write_text("".join(f"{rule}\n" for rule in endpoints()))
    (folder / template).write_text(text)
    return folder / template


async def _listens(port: int) -> bool:
    try:
        (await asyncio.open_connection("127.0.0.1", port))[1].close()
    except OSError:
        return False
    return True


@contextlib.asynccontextmanager
async def spawned(name: str, template: str, command: Callable[[Path], list[str]]) -> AsyncIterator[Peer]:
    """A peer in a process of its own, once it listens."""
    upstream = Upstream()
    await upstream.start()
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        process = await asyncio.create_subprocess_exec(*command(written(template, Path(folder), port, upstream)))
        try:
            async with asyncio.timeout(10):
                while not await _listens(port):
                    if process.returncode is not None:
                        raise SystemExit(f"{name} does not start")
                    await asyncio.sleep(0.05)
            yield Peer(name, port, upstream)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            await upstream.stop()


@contextlib.asynccontextmanager
async def ours() -> AsyncIterator[Peer]:
    """The gateway, in this process."""
    upstream = Upstream()
    await upstream.start()
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        async with running(Path(folder), upstream, identity={"ttl": "1h"}) as run:
            await run.ask()
            yield Peer("productlane-gateway", run.gateway.traffic.port, upstream)
    await upstream.stop()


Result = dict[str, list[tuple[str, bool]]]


async def tried(peer: Peer) -> Result:
    """Every row on one peer: by section, each row's name and whether it passes."""
    if b"200" not in (await peer.ask(get(), 1))[:20]:
        raise SystemExit(f"{peer.name} does not serve a plain request")
    found: Result = {}
    for section, row in request_rows():
        found.setdefault(section, []).append((row.name, await peer.request_row(row)))
    for table in ANSWERS:
        for reply in getattr(test_response, table):
            passes = await peer.answer_row(reply, trusted=table == "SURPLUS")
            found.setdefault("answers", []).append((f"{table.lower()}: {reply.name}", passes))
    return found


def version(program: str, *arguments: str) -> str:
    """The first version number that a program prints about itself."""
    told = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", told.stdout + told.stderr)
    return found[0] if found else "?"


def as_markdown(results: dict[str, Result]) -> str:
    """The results as Markdown: a table of sections, then the rows that each peer fails."""
    names = list(results)
    sections = list(results[names[0]])
    lines = [f"| section | rows | {' | '.join(names)} |", "|---|" + "---:|" * (len(names) + 1)]
    totals = dict.fromkeys(names, 0)
    for section in sections:
        passed = {name: sum(passes for _, passes in results[name][section]) for name in names}
        totals = {name: totals[name] + passed[name] for name in names}
        counts = " | ".join(str(passed[name]) for name in names)
        lines.append(f"| {section} | {len(results[names[0]][section])} | {counts} |")
    rows = sum(len(results[names[0]][section]) for section in sections)
    lines.append(f"| **all** | **{rows}** | {' | '.join(f'**{totals[name]}**' for name in names)} |")
    for name in names:
        failing = {s: [row for row, passes in results[name][s] if not passes] for s in sections}
        lines += ["", f"### Rows that {name} fails", ""]
        lines += [
            f"- {section}: {', '.join(f'`{row}`' for row in rows)}" for section, rows in failing.items() if rows
        ] or ["None."]
    return "\n".join(lines).replace("\x00", "\\0")


async def compare(wanted: list[str]) -> str:
    """The whole comparison, as Markdown."""
    peers: dict[str, contextlib.AbstractAsyncContextManager[Peer]] = {f"productlane-gateway {__version__}": ours()}
    if "nginx" in wanted:
        name = f"nginx {version('nginx', '-v')}"
        peers[name] = spawned("nginx", "nginx.conf", lambda path: ["nginx", "-p", str(path.parent), "-c", str(path)])
    if "haproxy" in wanted:
        peers[f"HAProxy {version('haproxy', '-v')}"] = spawned(
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
