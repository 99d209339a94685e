"""Runs the real command: to its end, or as a server that a test talks to and ends."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
DEADLINE: Final = 30.0
# Limits are set by a shell: Python code between fork and exec may wait for ever for a lock that another thread held.
_LIMITED: Final = 'ulimit -Sn "$0"; ulimit -Hn "$1"; shift; exec "$@"'


@dataclass(frozen=True)
class Finished:
    """The exit status and output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The least that a process needs, so that nothing of the machine's own set-up comes in; warnings are errors."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "COVERAGE_PROCESS_CONFIG") if name in os.environ
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(extra or {})}


async def start(
    *words: str | Path,
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    flags: tuple[str, ...] = (),
    stdout: int = PIPE,
    most_files: int | None = None,
) -> Process:
    """Start ``productlane-gateway`` with these words; ``flags`` are the interpreter's, ``stdout`` a descriptor.

    ``most_files`` is the hard limit of its open files.
    """
    limited = () if most_files is None else ("sh", "-c", _LIMITED, str(most_files // 2), str(most_files))
    return await asyncio.create_subprocess_exec(
        *limited,
        sys.executable,
        *flags,
        "-m",
        "gateway",
        *map(str, words),
        cwd=cwd,
        env=environment(environ),
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
    *words: str | Path, cwd: Path = ROOT, environ: Mapping[str, str] | None = None, flags: tuple[str, ...] = ()
) -> Finished:
    """Run a command to its end."""
    return await finish(await start(*words, cwd=cwd, environ=environ, flags=flags))


@dataclass
class Running:
    """A command that runs until it is ended, and the lines that it wrote to standard output so far."""

    process: Process
    lines: list[str] = field(default_factory=list)

    async def line(self, holding: str) -> str:
        """The next line that contains this text. Fails if the process ends before."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line.rstrip("\n"))
                if holding in line:
                    return self.lines[-1]
        rest = await finish(self.process)
        raise AssertionError(f"ended with {rest.status} before {holding!r}: {self.lines} {rest.err}")

    async def end(self, *signals: int) -> Finished:
        """Send the signals and wait for the end; lines that were read before are part of the output."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        rest = await finish(self.process)
        return Finished(rest.status, "".join(f"{line}\n" for line in self.lines) + rest.out, rest.err)


@asynccontextmanager
async def running(
    *words: str | Path, cwd: Path, environ: Mapping[str, str] | None = None, most_files: int | None = None
) -> AsyncIterator[Running]:
    """A command that a test talks to; killed at the end if it still runs."""
    process = await start(*words, cwd=cwd, environ=environ, most_files=most_files)
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await finish(process)


async def shell(line: str) -> str:
    """The output of a line of shell."""
    process = await asyncio.create_subprocess_shell(line, stdout=PIPE, stderr=PIPE, env=environment())
    return (await finish(process)).out
