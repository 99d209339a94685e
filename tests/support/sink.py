"""An upstream and a caller with small kernel buffers, so that a test sees how much a gateway buffers."""

import asyncio
import hashlib
import socket

from tests.support.deadline import DEADLINE
from tests.support.in_process import Running
from tests.support.raw_caller import Caller
from tests.support.recording import Upstream

SMALL = 65_536


class Sink(Upstream):
    """Counts the bytes of request bodies without keeping them, and reads a body only once ``open_tap`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.open_tap = asyncio.Event()
        self.taken = 0
        self.digest = hashlib.sha256()
        self.begun = asyncio.Event()

    async def start(self, **options: object) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=SMALL)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/v2"

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /api/v2/me "):
            writer.write(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            return True
        self.begun.set()
        await self.open_tap.wait()
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while self.taken < left and (piece := await reader.read(SMALL)):
            self.taken += len(piece)
            self.digest.update(piece)
        if self.taken < left:
            return False
        writer.write(b"HTTP/1.1 201 X\r\nContent-Length: 2\r\n\r\nok")
        return True


async def narrow(run: Running) -> Caller:
    """A caller with small kernel buffers."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (run.gateway.traffic.host, run.gateway.traffic.port))
    caller = Caller(*await asyncio.open_connection(sock=sock, limit=SMALL))
    run.callers.append(caller)
    return caller


class Flow:
    """Counts the bytes that were written; ``stalled`` returns once no more are accepted."""

    def __init__(self) -> None:
        self.size = 0

    async def stalled(self) -> int:
        async with asyncio.timeout(DEADLINE):
            before = -1
            while before != self.size or not self.size:
                before = self.size
                await asyncio.sleep(0.25)
        return self.size
