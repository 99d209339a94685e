"""The rotation that `docs/rotation.md` tells, line by line in a real shell: what it shows is what happens."""

import asyncio
import re
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.command import ROOT, environment

DOC = (ROOT / "docs" / "rotation.md").read_text()
DEADLINE = 60.0
END = "end-of-output-7f3a"
PORTS = ("8080", "8090", "8091", "9090")


def files() -> Mapping[str, str]:
    """The files that the text gives, by name."""
    return dict(re.findall(r"^`([\w./]+)`:\n\n```yaml\n(.*?)```", DOC, re.MULTILINE | re.DOTALL))


def steps() -> list[tuple[str, str]]:
    """The lines to type, in order, each with what it answers."""
    lines: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)```", DOC, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                lines.append((line[2:], []))
            else:
                lines[-1][1].append(line)
    return [(command, "\n".join(answer)) for command, answer in lines]


def free_ports() -> dict[str, str]:
    """A free port for each of those that the text uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    found = dict(zip(PORTS, (str(one.getsockname()[1]) for one in sockets), strict=True))
    for one in sockets:
        one.close()
    return found


def with_ports(text: str, ports: Mapping[str, str]) -> str:
    return re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda match: ports[match[0]], text)


def timeless(text: str) -> str:
    """A text without what differs from one run to the next: moments, durations, and the columns that they widen."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"\b\d+ (?:s|min)\b", "DURATION", text)
    return re.sub(r" +", " ", text).strip()


def prepare(folder: Path, ports: Mapping[str, str]) -> dict[str, str]:
    """Put the files and the command where the text expects them; returns the environment of the shell."""
    folder.chmod(0o700)
    for name, text in files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(with_ports(text, ports))
    command = folder / "bin" / "productlane-gateway"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    command.chmod(0o700)
    environ = environment()
    return environ | {"PATH": f"{command.parent}:{environ['PATH']}", "LC_ALL": "C"}


class Shell:
    """A shell that is given line after line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def type(self, line: str) -> str:
        """What a line answers on either stream."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\necho {END}\n".encode())
        async with asyncio.timeout(DEADLINE):
            answer = await self._process.stdout.readuntil(f"{END}\n".encode())
        return answer.decode().removesuffix(f"{END}\n")


@asynccontextmanager
async def shell(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[Shell]:
    """A shell in a folder. What it leaves running is ended with it."""
    process = await asyncio.create_subprocess_exec(
        "bash", cwd=folder, env=environ, stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    it = Shell(process)
    try:
        yield it
    finally:
        assert process.stdin is not None
        process.stdin.write(b"kill $(jobs -p) 2>/dev/null; wait; exit\n")
        async with asyncio.timeout(DEADLINE):
            await process.communicate()


async def test_the_rotation_as_it_is_told(tmp_path: Path) -> None:
    """Every line of the walk-through can be typed as it stands, and answers what the text shows."""
    ports = free_ports()
    environ = await asyncio.to_thread(prepare, tmp_path, ports)
    added = {"simulate --key": f"simulate --port {ports['8090']} --control-port {ports['8091']} --key"}
    found = []
    async with shell(tmp_path, environ) as it:
        for command, _ in steps():
            line = with_ports(command, ports)
            for plain, full in added.items():
                line = line.replace(plain, full)
            line = line.replace(
                "serve --config", f"serve --listen 127.0.0.1:{ports['8080']} --admin 127.0.0.1:{ports['9090']} --config"
            )
            line = line.replace(
                "productlane-gateway keys", f"productlane-gateway keys --admin http://127.0.0.1:{ports['9090']}"
            )
            found.append((command, await it.type(line)))

    assert [(command, timeless(answer)) for command, answer in steps()] == [
        (command, timeless(answer)) for command, answer in found
    ]


@pytest.mark.parametrize("command", ["keys", "keys --admin", "simulate", "serve"])
def test_the_text_shows_the_commands(command: str) -> None:
    """The walk-through cannot lose a step unseen: each command of a rotation stands in it."""
    assert f"productlane-gateway {command}" in DOC
