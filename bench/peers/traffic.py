"""The requests of a comparison, the upstream that answers them, and the load that sends them."""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

TOKEN: Final = "token-of-the-bench"
_FIELDS: Final = b"Host: gateway\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAuthorization: Bearer " + TOKEN.encode()
GET: Final = b"GET /api/v2/threads?limit=20 HTTP/1.1\r\n%b\r\nAccept-Encoding: gzip, deflate\r\n\r\n" % _FIELDS
BODY: Final = b'{"data":"' + b"x" * 1000 + b'"}'
ME: Final = b'{"workspace_id":"w","api_key_id":"k","scopes":["threads:read","threads:write"]}'
_POSTED: Final = b'{"text":"' + b"x" * 1000 + b'"}'
POST: Final = (
    b"POST /api/v2/threads HTTP/1.1\r\n%b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (_FIELDS, len(_POSTED), _POSTED)
)
LARGE: Final = GET.replace(b"?limit=20", b"?limit=20&large=1")
LARGE_SIZE: Final = 256 << 20
_PIECE: Final = b"x" * (1 << 18)
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class _Answering(asyncio.Protocol):
    """An upstream that answers every request at once, with what Productlane's answers carry."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.missing = 0
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        else:
            end = data.find(b"\r\n\r\n") + 4
            found = _LENGTH.search(data, 0, end)
            self.missing = int(found[1]) - len(data) + end if found else 0
            self.me, self.large = b" /api/v2/me " in data, b"&large=1 " in data
        if self.missing <= 0:
            self.missing = 0
            self.answer()

    def answer(self) -> None:
        body = ME if self.me else BODY
        reset = int(time.time()) // 60 * 60 + 60
        size = LARGE_SIZE if self.large else len(body)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_0123456789abcdef\r\n"
            b"X-RateLimit-Limit: 9000000\r\nX-RateLimit-Remaining: 8999999\r\nX-RateLimit-Reset: %d\r\n"
            b"Content-Length: %d\r\n\r\n" % (reset, size) + (b"" if self.large else body)
        )
        self.left = size if self.large else 0
        self.more()

    def more(self) -> None:
        while self.left and not self.paused:
            self.left -= len(_PIECE)
            self.transport.write(_PIECE)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.more()


class _Asking(asyncio.Protocol):
    """One connection that asks again as soon as it is answered, while ``left`` says so."""

    def __init__(self, left: list[int], finished: Callable[[], None], requests: Iterator[bytes]) -> None:
        self.left, self.finished, self.requests, self.got = left, finished, requests, b""
        self.dropping = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            self.transport.close()
            self.finished()
        else:
            self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        if self.dropping:
            self.dropping -= len(data)
            if self.dropping <= 0:
                self.dropping = 0
                self.ask()
            return
        self.got += data
        end = self.got.find(b"\r\n\r\n")
        found = _LENGTH.search(self.got, 0, end + 2) if end >= 0 else None
        if found is not None and int(found[1]) == LARGE_SIZE:
            self.dropping, self.got = LARGE_SIZE - len(self.got) + end + 4, b""
        elif found is not None and len(self.got) >= end + 4 + int(found[1]):
            if not self.got.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"a peer answered {self.got[:200]!r}")
            self.got = b""
            self.ask()


async def load(
    port: int, count: int, connections: int, requests: Sequence[bytes] = (GET,), tls: ssl.SSLContext | None = None
) -> None:
    """So many requests, one after another and again from the first, over so many connections at a time."""
    loop, asked = asyncio.get_running_loop(), cycle(requests)
    left, open_ones, done = [count], [connections], loop.create_future()

    def finished() -> None:
        open_ones[0] -= 1
        if not open_ones[0]:
            done.set_result(None)

    for _ in range(connections):
        await loop.create_connection(
            lambda: _Asking(left, finished, asked),
            "127.0.0.1",
            port,
            ssl=tls,
            server_hostname=None if tls is None else "localhost",
        )
    await done


async def paced(port: int, count: int, rate: float) -> list[float]:
    """The seconds that each call takes on one connection, at a steady rate; some more at first do not count."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop, took = asyncio.get_running_loop(), []
    due = loop.time()
    for _ in range(count + 5):
        due = max(due + 1 / rate, loop.time())
        await asyncio.sleep(due - loop.time())
        began = time.perf_counter()
        writer.write(GET)
        found = _LENGTH.search(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(int(found[1]) if found else 0)
        took.append(time.perf_counter() - began)
    writer.close()
    return took[5:]


def upstream(tell: Connection, pem: str | None) -> None:
    """Answers on a port that it tells; with a file of certificate and key, over TLS."""
    context = None
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0, ssl=context)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())
