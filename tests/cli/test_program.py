"""`gateway.cli.program`: what the command line offers, and what merely looking at it costs."""

import asyncio
import fcntl
import os
import signal
import struct
import sys
import termios
import tomllib
from pathlib import Path

import pytest

from gateway import __version__
from tests.support.command import GATEWAY, ROOT, finish, run, start
from tests.support.deadline import DEADLINE, eventually

COMMANDS = [
    "serve",
    "demo",
    "check",
    "doctor",
    "config",
    "keys",
    "health",
    "explain",
    "catalog",
    "test",
    "policy",
    "report",
]
COMMANDS += ["token", "schema", "simulate", "completion", "version"]


async def test_help_lists_every_command_in_the_order_of_use() -> None:
    """`--help` lists every command; the commands to begin with come first."""
    done = await run("--help")

    listed = [line.split()[0] for line in done.out.split("Commands:")[1].splitlines() if line.strip()]
    assert (0, "") == (done.status, done.err)
    assert COMMANDS == listed


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_help_of_a_command_teaches(command: str) -> None:
    """Each --help says what the exit statuses mean, and each command but the plainest shows an example."""
    done = await run(command, "-h")

    assert 0 == done.status
    assert "Exit status: 0" in " ".join(done.out.split())
    assert command == "version" or f"\n      productlane-gateway {command}" in done.out


async def test_a_command_that_is_not_there_exits_with_2() -> None:
    """A mistyped command is reported on standard error with status 2, like any other wrong usage."""
    done = await run("sreve")

    assert (2, "") == (done.status, done.out)
    assert "sreve" in done.err
    assert 'did you mean "serve"?' in done.err


@pytest.mark.parametrize("words", [["--help"], ["schema", "config"], ["keys", "--help"], ["version"]], ids=" ".join)
async def test_a_reader_that_has_enough_is_no_answer(words: list[str]) -> None:
    """Piped into `head`, a command ends as by SIGPIPE: silently, and not with the status of a refusal."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = await finish(await start(*words, cwd=ROOT, stdout=writer))
    finally:
        os.close(writer)

    assert (141, "") == (done.status, done.err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_full_disk_is_told_in_a_line() -> None:
    """A token file that cannot be written is reported without a traceback."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = await finish(await start("token", cwd=ROOT, stdout=full))
    finally:
        os.close(full)

    assert (2, "the output is not whole: No space left on device\n") == (done.status, done.err)


async def test_an_interrupted_command_is_no_answer(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130 and no traceback, and not with the status of a refusal."""
    log = tmp_path / "access.log"
    os.mkfifo(log)
    process = await start("report", ROOT / "policies", "--access-log", log, cwd=tmp_path)
    # Open for both ends, which does not wait for the other one.
    with os.fdopen(os.open(log, os.O_RDWR), "wb", buffering=0) as pipe:
        pipe.write(b"{}\n")

        async def read() -> bool:
            return not struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]

        await eventually(read)
        process.send_signal(signal.SIGINT)
        done = await finish(process)

    assert (130, "", "") == (done.status, done.out, done.err)


async def test_a_terminal_without_the_signs_gets_others(tmp_path: Path) -> None:
    """A character outside the terminal's encoding is written as an escape."""
    environ = {
        "PRODUCTLANE_KEY": "pl_v2_aaaaaaaa",
        "PRODUCTLANE_SCOPES": "threads:read",
        "PYTHONIOENCODING": "latin-1",
    }
    done = await run("check", environ=environ, cwd=tmp_path)

    assert (0, "") == (done.status, done.err)
    assert r"/** \u2192 default" in done.out


async def test_a_closed_standard_input_is_an_empty_one() -> None:
    """`-` with nothing to read is reported as an empty log, also if standard input was closed."""
    command = f"exec {sys.executable} -m gateway policy diff policies policies --against - <&-"
    shell = await asyncio.create_subprocess_shell(command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(DEADLINE):
        _, err = await shell.communicate()

    assert 2 == shell.returncode
    assert b"holds no request" in err
    assert b"Traceback" not in err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["version"], ["token"]], ids=" ".join)
async def test_small_commands_stay_small(words: list[str]) -> None:
    """Asking for help, the version or a token does not load the HTTP stack or an event loop."""
    done = await run(*words, program=("-X", "importtime", *GATEWAY))

    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert 0 == done.status
    assert set() == loaded & {"aiohttp", "asyncio", "uvloop", "msgspec", "yaml"}


async def test_serving_loads_nothing_of_the_demo(tmp_path: Path) -> None:
    """A serving process never loads the simulator."""
    environ = {"PRODUCTLANE_KEY": "pl_v2_aaaaaaaa", "PRODUCTLANE_SCOPES": "threads:read", "PYTHONASYNCIODEBUG": "1"}
    done = await run("serve", environ=environ, cwd=tmp_path, program=("-X", "importtime", *GATEWAY))

    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert "gateway.runtime.server" in loaded
    assert [] == [
        name
        for name in loaded
        if name.startswith(("gateway.simulator", "gateway.cli.demo.demo", "gateway.cli.demo.script"))
    ]


async def test_the_version_is_that_of_the_package() -> None:
    """`--version` and `version` say the same three lines, with the version that the package is built as."""
    flag, command = await run("--version"), await run("version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert flag.out == command.out
    assert f"{project['project']['name']} {__version__}" == flag.out.splitlines()[0]
    assert ["productlane-gateway", "Python", "aiohttp"] == [line.split()[0] for line in flag.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["catalog", "--nope", "--json"], "No such option"),
        (["catalog", "--scope", "thread:read", "--json"], 'did you mean "threads:read"'),
        (["check", "--config", "nowhere.yaml", "--json"], "nowhere.yaml"),
        (["policy", "diff", "nowhere", "nowhere", "--json"], "does not exist"),
    ],
)
async def test_a_failure_is_json_too(words: list[str], part: str) -> None:
    """With --json every problem is JSON on standard output, with status 2."""
    done = await run(*words)

    (problem,) = done.json["problems"]
    assert (2, "", False) == (done.status, done.err, done.json["ok"])
    assert part in problem["message"] + problem["file"]
