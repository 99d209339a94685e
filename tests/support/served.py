"""``serve`` in its own process, with all of its output and answers."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.deadline import DEADLINE, kill
from tests.support.in_process import write
from tests.support.raw_caller import Caller, Response, ask, connect, head
from tests.support.recording import Upstream

ROOT = Path(__file__).parents[2]
# What would change how an interpreter or the gateway behaves, were it inherited from the shell that runs the tests.
FOREIGN = ("PYTHON", "PRODUCTLANE_", "COV", "OTEL_", "SSLKEYLOGFILE", "AIOHTTP_")


def environment(**more: str) -> dict[str, str]:
    """The variables that a command is started with: those of the tests, without any that would change it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def write_config(folder: Path, url: str, /, **settings: Any) -> Path:
    """The files of a gateway with its key in one that only its owner reads, and log level debug."""
    return write(folder, url, *settings.pop("policies", ()), **{"own_key": True, "log": {"level": "debug"}, **settings})


class Ended(Exception):
    """The process has ended; the argument is its standard error."""


@dataclass
class Served:
    """A gateway in a process. ``out`` and ``err`` are its output so far, ``answers`` all of its answers, ``callers``
    the connections that were made to it; what is open at its end is dropped.
    """

    process: asyncio.subprocess.Process
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    answers: list[bytes] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    traffic: str = ""
    admin: str = ""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines() if line.startswith(b"{")]

    async def until_said(self, text: bytes) -> None:
        """Wait until it has said something, on either stream."""
        async with asyncio.timeout(DEADLINE):
            while text not in self.out and text not in self.err:
                if self.process.returncode is not None:
                    raise Ended(bytes(self.err))
                await asyncio.sleep(0.01)

    async def connect(self, address: str = "", **options: Any) -> Caller:
        """``options`` are those of `asyncio.open_connection`."""
        caller = await connect(address or self.traffic, **options)
        self.callers.append(caller)
        return caller

    async def send(self, data: bytes, *, address: str = "") -> bytes:
        """Everything that comes back of these bytes until the connection ends, or the answers do."""
        caller = await self.connect(address)
        got = bytearray()
        with contextlib.suppress(ConnectionError, TimeoutError):
            caller.writer.write(data)
            while piece := await asyncio.wait_for(caller.reader.read(1 << 16), 0.3 if not got else 0.1):
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

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


def under(limit: str, soft: str = "hard") -> tuple[str, ...]:
    """The gateway as a program for `serving`, with the soft limit of a resource changed.

    Not by code between fork and exec, which may wait for ever for a lock that another thread held.
    """
    change = f"hard = r.getrlimit(r.{limit})[1]; r.setrlimit(r.{limit}, ({soft}, hard))"
    become = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return ("-c", f"import os, resource as r, sys; {change}; {become}", "-m", "gateway")


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    server: Upstream,
    /,
    *,
    program: tuple[str, ...] = ("-m", "gateway"),
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """``serve`` over files in a folder."""
    path = write_config(folder, server.url, drain={"delay": "0s", "timeout": "1s"}, **settings)
    arguments = [*program, "serve", "--config", str(path)]
    async with started(arguments, environment(**(environ or {})), cwd=folder) as served:
        yield served


@contextlib.asynccontextmanager
async def started(arguments: list[str], environ: Mapping[str, str], **process: Any) -> AsyncIterator[Served]:
    """A command that serves, once it is ready; killed at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        **process,
    )
    served = Served(child)
    pumps = [asyncio.create_task(_pump(child.stdout, served.out)), asyncio.create_task(_pump(child.stderr, served.err))]
    try:
        await served.until_said(b'"event":"started"')
        (line,) = [line for line in served.lines() if line.get("event") == "started"]
        served.traffic, served.admin = line["listener"], line["address"]
        yield served
    finally:
        for caller in served.callers:
            caller.writer.transport.abort()
        await kill(child)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*pumps)


async def _pump(stream: asyncio.StreamReader | None, kept: bytearray) -> None:
    while stream is not None and (piece := await stream.read(1 << 16)):
        kept += piece
