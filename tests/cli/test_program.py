"""`gateway.cli.program`: what the command line offers, and what merely looking at it costs."""

import tomllib
from pathlib import Path

import pytest

from gateway import __version__
from tests.cli.command import ROOT, run

COMMANDS = ["serve", "demo", "check", "keys", "explain", "test", "policy", "report"]
COMMANDS += ["token", "schema", "simulate", "version"]


async def test_help_lists_every_command_in_the_order_of_use() -> None:
    """Whoever types --help sees all there is, the commands to begin with first."""
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
    """A mistyped command is told on standard error with status 2, like any other wrong usage."""
    done = await run("sreve")

    assert (2, "") == (done.status, done.out)
    assert "sreve" in done.err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["version"], ["token"]], ids=" ".join)
async def test_small_commands_stay_small(words: list[str]) -> None:
    """Asking for help, the version or a token does not load the HTTP stack or an event loop."""
    done = await run(*words, flags=("-X", "importtime"))

    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert 0 == done.status
    assert set() == loaded & {"aiohttp", "asyncio", "uvloop", "msgspec", "yaml"}


async def test_serving_loads_nothing_of_the_demo(tmp_path: Path) -> None:
    """The process that holds keys never has the simulator in it."""
    environ = {"PRODUCTLANE_KEY": "pl_v2_aaaaaaaa", "PRODUCTLANE_SCOPES": "threads:read", "PYTHONASYNCIODEBUG": "1"}
    done = await run("serve", environ=environ, cwd=tmp_path, flags=("-X", "importtime"))

    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert "gateway.server" in loaded
    assert [] == [
        name for name in loaded if name.startswith(("gateway.simulator", "gateway.cli.demo", "gateway.cli.tour"))
    ]


async def test_the_version_is_that_of_the_package() -> None:
    """`--version` and `version` say the same three lines, with the version that the package is built as."""
    flag, command = await run("--version"), await run("version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert flag.out == command.out
    assert f"{project['project']['name']} {__version__}" == flag.out.splitlines()[0]
    assert ["productlane-gateway", "Python", "aiohttp"] == [line.split()[0] for line in flag.out.splitlines()]
