"""A document with commands for a shell: its files, its lines, and the output of the lines when they are typed."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.command import environment
from tests.support.deadline import kill
from tests.support.ports import free_ports

DEADLINE: Final = 60.0
END: Final = "end-of-output-7f3a"
PORTS: Final = ("8080", "8090", "8091", "9090")


@dataclass(frozen=True)
class Walk:
    """The text of a document, and patterns that vary between runs with their placeholders."""

    text: str
    varying: Mapping[str, str]

    def files(self) -> Mapping[str, str]:
        """The files that the text gives, by name."""
        return dict(re.findall(r"^`([\w./-]+)`:\n\n```yaml\n(.*?)```", self.text, re.MULTILINE | re.DOTALL))

    def steps(self) -> list[tuple[str, str]]:
        """The lines to type, in order, each with its printed output."""
        lines: list[tuple[str, list[str]]] = []
        for block in re.findall(r"^```console\n(.*?)```", self.text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line.startswith("$ "):
                    lines.append((line[2:], []))
                else:
                    lines[-1][1].append(line)
        return [(command, "\n".join(answer)) for command, answer in lines]

    def told(self) -> list[tuple[str, str]]:
        """The steps without what varies."""
        return [(command, self.timeless(answer)) for command, answer in self.steps()]

    async def typed(self, folder: Path) -> list[tuple[str, str]]:
        """Type every line in a new folder, on free ports, and return the outputs without varying parts."""
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        environ = await asyncio.to_thread(self._prepare, folder, ports)
        found = []
        async with _shell(folder, environ) as it:
            for command, _ in self.steps():
                answer = await it.type(_on_ports(command, ports))
                found.append((command, self.timeless(_with(answer, {port: name for name, port in ports.items()}))))
        return found

    def timeless(self, text: str) -> str:
        """A text without what varies, and without the widths of columns, which vary with it."""
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
        for pattern, word in self.varying.items():
            text = re.sub(pattern, word, text)
        return re.sub(r" +", " ", text).strip()

    def _prepare(self, folder: Path, ports: Mapping[str, str]) -> dict[str, str]:
        """Write the files and the command to where the text expects them; returns the environment of the shell."""
        folder.chmod(0o700)
        for name, text in self.files().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(_with(text, ports))
        command = folder / "bin" / "productlane-gateway"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
        command.chmod(0o700)
        environ = environment()
        return environ | {"PATH": f"{command.parent}:{environ['PATH']}", "LC_ALL": "C"}


def _with(text: str, ports: Mapping[str, str]) -> str:
    return re.sub(rf"\b(?:{'|'.join(ports)})\b", lambda match: ports[match[0]], text)


def _on_ports(command: str, ports: Mapping[str, str]) -> str:
    """A line with these ports, added if the document relies on the default ones."""
    admin = f"--admin http://127.0.0.1:{ports['9090']}"
    added = {
        "simulate --key": f"simulate --port {ports['8090']} --control-port {ports['8091']} --key",
        "serve --config": f"serve --listen 127.0.0.1:{ports['8080']} {admin.replace('http://', '')} --config",
        "productlane-gateway keys": f"productlane-gateway keys {admin}",
        "productlane-gateway report": f"productlane-gateway report {admin}",
    }
    command = _with(command, ports)
    for plain, full in added.items():
        command = command.replace(plain, full)
    return command


class _Shell:
    """A shell that is given line after line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def type(self, line: str) -> str:
        """The output of a line on both streams."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\necho {END}\n".encode())
        async with asyncio.timeout(DEADLINE):
            answer = await self._process.stdout.readuntil(f"{END}\n".encode())
        return answer.decode().removesuffix(f"{END}\n")


@asynccontextmanager
async def _shell(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[_Shell]:
    """A shell in a folder. Its background jobs are ended with it."""
    process = await asyncio.create_subprocess_exec(
        "bash", cwd=folder, env=environ, stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    it = _Shell(process)
    try:
        yield it
    finally:
        assert process.stdin is not None
        process.stdin.write(b"kill $(jobs -p) 2>/dev/null; wait; exit\n")
        try:
            async with asyncio.timeout(DEADLINE):
                await process.communicate()
        finally:
            await kill(process)
