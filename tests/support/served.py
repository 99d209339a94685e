"""``serve`` in its own process, with all of its output and answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.command import GATEWAY, Running, running
from tests.support.deadline import DEADLINE
from tests.support.in_process import write
from tests.support.raw_caller import Caller, Response, ask, connect, head
from tests.support.recording import Upstream


def write_config(folder: Path, url: str, /, **settings: Any) -> Path:
    """The files of a gateway with its key in one that only its owner reads, and log level debug."""
    return write(folder, url, *settings.pop("policies", ()), **{"own_key": True, "log": {"level": "debug"}, **settings})


@dataclass
class Served(Running):
    """A gateway in a process. ``answers`` are all of its answers, ``callers`` the connections that were made to it;
    what is open at its end is dropped.
    """

    answers: list[bytes] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    traffic: str = ""
    admin: str = ""

    async def connect(self, address: str = "", **options: Any) -> Caller:
        """``options`` are those of `asyncio.open_connection`."""
        caller = await connect(address or self.traffic, **options)
        self.callers.append(caller)
        return caller

    async def send(self, data: bytes, *, address: str = "") -> bytes:
        """Everything that comes back of these bytes until the connection ends; where they do not ask for its end, until
        nothing more comes for a moment.
        """
        first, further = (DEADLINE, DEADLINE) if b"Connection: close" in data else (0.3, 0.1)
        caller = await self.connect(address)
        got = bytearray()
        with contextlib.suppress(ConnectionError, TimeoutError):
            caller.writer.write(data)
            while piece := await asyncio.wait_for(caller.reader.read(1 << 16), further if got else first):
                got += piece
        await caller.close()
        self.answers.append(bytes(got))
        return bytes(got)

    async def send_all(self, requests: Iterable[bytes], *, address: str = "") -> None:
        """Send each of these on a new connection, several at a time."""
        at_once = asyncio.Semaphore(32)

        async def one(data: bytes) -> None:
            async with at_once:
                await self.send(data, address=address)

        await asyncio.gather(*[one(data) for data in requests])

    async def ask(self, target: str = "/api/v2/threads", *fields: str, method: str = "GET") -> Response:
        return await self._answer(self.traffic, head(method, target, *fields))

    async def ask_admin(self, path: str) -> Response:
        return await self._answer(self.admin, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def _answer(self, address: str, data: bytes) -> Response:
        response = await ask(address, data, head_only=data.startswith(b"HEAD"))
        self.answers.append(response.head + b"\r\n\r\n" + response.body)
        return response


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    server: Upstream,
    /,
    *,
    environ: Mapping[str, str] | None = None,
    program: tuple[str, ...] = GATEWAY,
    ulimits: tuple[str, ...] = (),
    **settings: Any,
) -> AsyncIterator[Served]:
    """``serve`` over files in a folder."""
    path = write_config(folder, server.url, drain={"delay": "0s", "timeout": "1s"}, **settings)
    command = ("serve", "--config", path)
    async with started(*command, cwd=folder, environ=environ, program=program, ulimits=ulimits) as served:
        yield served


@contextlib.asynccontextmanager
async def started(*words: str | Path, **process: Any) -> AsyncIterator[Served]:
    """A command that serves, once it is ready."""
    async with running(*words, checked=False, **process) as it:
        line = json.loads(await it.line('"event":"started"'))
        served = Served(it.process, it.out, it.err, it.pumps, traffic=line["listener"], admin=line["address"])
        try:
            yield served
        finally:
            for caller in served.callers:
                caller.writer.transport.abort()
