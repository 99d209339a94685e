"""Runs the real command: to its end, or as a server that a test talks to and ends."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.deadline import kill

ROOT: Final = Path(__file__).parents[2]
DEADLINE: Final = 30.0
GATEWAY: Final = ("-m", "gateway")


class Ended(Exception):
    """The process has ended; the argument is its standard error."""


@dataclass(frozen=True)
class Finished:
    """The exit status and output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(extra: Mapping[str, str] | None = None, *, checked: bool = True) -> dict[str, str]:
    """The least that a process needs, so that nothing of the machine's own set-up comes in.

    ``checked`` makes warnings errors, and has coverage measured where the tests are.
    """
    names = ("PATH", "HOME", "TMPDIR", *(("COVERAGE_PROCESS_CONFIG",) if checked else ()))
    kept = {name: os.environ[name] for name in names if name in os.environ}
    strict = {"PYTHONWARNINGS": "error"} if checked else {}
    return {**kept, "PYTHONPATH": str(ROOT), **strict, **(extra or {})}


async def start(
    *words: str | Path,
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    program: tuple[str, ...] = GATEWAY,
    checked: bool = True,
    stdout: int = PIPE,
    ulimits: tuple[str, ...] = (),
) -> Process:
    """Start ``productlane-gateway`` with these words; the interpreter runs ``program``, ``stdout`` is a descriptor.

    ``ulimits`` are arguments of the shell's command of that name: Python code between fork and exec may wait for ever
    for a lock that another thread held.
    """
    limited = "".join(f"ulimit {limit} && " for limit in ulimits)
    shell = ("sh", "-c", f'{limited}exec "$0" "$@"') if ulimits else ()
    return await asyncio.create_subprocess_exec(
        *shell,
        sys.executable,
        *program,
        *map(str, words),
        cwd=cwd,
        env=environment(environ, checked=checked),
        stdin=DEVNULL,
        stdout=stdout,
        stderr=PIPE,
    )


async def finish(process: Process) -> Finished:
    """Wait for a process to end."""
    async with asyncio.timeout(DEADLINE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, (out or b"").decode(), err.decode())


async def run(
    *words: str | Path, cwd: Path = ROOT, environ: Mapping[str, str] | None = None, program: tuple[str, ...] = GATEWAY
) -> Finished:
    """Run a command to its end."""
    return await finish(await start(*words, cwd=cwd, environ=environ, program=program))


@dataclass
class Running:
    """A command that runs until it is ended. ``out`` and ``err`` are its output so far, which ``pumps`` read."""

    process: Process
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    pumps: tuple[asyncio.Task[None], ...] = ()

    def lines(self) -> list[dict[str, Any]]:
        """The lines of its log so far."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith(b"{")]

    async def until_said(self, text: bytes) -> None:
        """Wait until it has said something, on either stream. Raises `Ended`."""
        async with asyncio.timeout(DEADLINE):
            while text not in self.out and text not in self.err:
                await self._more()

    async def line(self, holding: str) -> str:
        """The first line of standard output that contains this text, once it is there. Raises `Ended`."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for line in self.out.split(b"\n")[:-1]:
                    if holding.encode() in line:
                        return line.decode()
                await self._more()

    async def _more(self) -> None:
        if all(pump.done() for pump in self.pumps):
            raise Ended(bytes(self.err))
        await asyncio.sleep(0.01)

    async def end(self, *signals: int) -> Finished:
        """Send the signals, SIGTERM by default, and wait for the end."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            status = await self.process.wait()
            await asyncio.gather(*self.pumps)
        return Finished(status, self.out.decode(), self.err.decode())


@asynccontextmanager
async def running(*words: str | Path, **parts: Any) -> AsyncIterator[Running]:
    """A command that a test talks to, with the parts of `start`; killed at the end if it still runs."""
    it = Running(await start(*words, **parts))
    streams = ((it.process.stdout, it.out), (it.process.stderr, it.err))
    it.pumps = tuple(asyncio.create_task(_pump(stream, kept)) for stream, kept in streams)
    try:
        yield it
    finally:
        await kill(it.process)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*it.pumps)


async def _pump(stream: asyncio.StreamReader | None, kept: bytearray) -> None:
    while stream is not None and (piece := await stream.read(1 << 16)):
        kept += piece


async def shell(line: str) -> str:
    """The output of a line of shell."""
    process = await asyncio.create_subprocess_shell(line, stdout=PIPE, stderr=PIPE, env=environment())
    return (await finish(process)).out
