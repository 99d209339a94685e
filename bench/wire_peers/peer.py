"""One proxy that is asked rows of the tables, and what comes of them."""

import asyncio
import contextlib
import dataclasses
import re
from typing import Final

from tests.support.recording import Arrival, Upstream
from tests.support.rows import Row, get, post
from tests.wire import test_response

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
