"""The demo: the first thing that a newcomer sees."""

import asyncio
import re
import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import yaml

from gateway.cli.demo.runner import hold
from gateway.cli.demo.script import Step, new_setup
from tests.support.command import Running, run, running, shell

PORTS = ("--port", "0", "--admin-port", "0")
STEP = Step("A title", "printf 'HTTP/1.1 200 OK  a body'", 200, ("a body",), "why")


async def told(demo: Running) -> list[tuple[str, str, list[str]]]:
    """The steps as printed: the line to paste, the expected status, and the expected texts."""
    await demo.line("Ctrl-C ends it")
    found = re.findall(r"^   (curl .*)\n   expect (\d+), (.*)$", demo.out.decode(), re.MULTILINE)
    return [(line, status, marks.strip("`").split("`, `")) for line, status, marks in found]


async def test_every_printed_line_answers_as_it_says(tmp_path: Path) -> None:
    """Each curl line, pasted in order, gives the status and texts that are printed below it."""
    async with running("demo", *PORTS, cwd=tmp_path) as demo:
        walk = await told(demo)
        answers = [await shell(line) for line, _, _ in walk]
        done = await demo.end(signal.SIGINT)

    for (line, status, marks), answered in zip(walk, answers, strict=True):
        assert line.startswith("curl -s ") or answered.startswith(f"HTTP/1.1 {status} ")
        assert [] == [mark for mark in marks if mark not in answered]
    assert ["200", "201", "403", "403", "200", "410", "410", "401", "200"] == [status for _, status, _ in walk]
    assert 0 == done.status
    assert "pl_v2_" not in done.out + done.err


async def test_the_log_shows_which_key_served(tmp_path: Path) -> None:
    """What the text says of keys is in the log: the narrowest one read, another one wrote, a refusal took none."""
    async with running("demo", *PORTS, cwd=tmp_path) as demo:
        walk = await told(demo)
        for line, _, _ in walk[:3]:
            await shell(line)
        done = await demo.end()

    read, wrote, refused = [line for line in done.err.splitlines() if " caller " in line]
    assert "key reader/1" in read
    assert "key support/1" in wrote
    assert "deny: scope_not_granted" in refused
    assert "key " not in refused


async def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """Only their owner can read the demo's files, and they are removed at the end."""
    async with running("demo", *PORTS, cwd=tmp_path, environ={"TMPDIR": str(tmp_path)}) as demo:
        await told(demo)
        config = Path(next(line for line in demo.out.decode().splitlines() if line.startswith("files")).split()[1])
        folder = config.parent
        modes = {path.name: path.stat().st_mode & 0o077 for path in folder.glob("*.key")}
        explained = await run("explain", "--config", config, "--caller", "dashboard", "POST", "/threads")
        await demo.end()

    assert {"reader.key": 0, "support.key": 0, "publisher.key": 0} == modes
    assert 1 == explained.status
    assert [] == await asyncio.to_thread(lambda: [*tmp_path.iterdir()])


async def test_it_tests_itself(tmp_path: Path) -> None:
    """`demo --check` runs its own lines and reports each as ok or failed."""
    done = await run("demo", "--check", *PORTS, cwd=tmp_path)

    assert (0, "") == (done.status, done.err)
    assert [f"ok {n}" for n in range(1, 10)] == [" ".join(line.split()[:2]) for line in done.out.splitlines()]


@pytest.mark.parametrize(
    ("command", "holds"),
    [
        (STEP.command, True),
        ("printf 'HTTP/1.1 200 OK  another'", False),
        ("curl -si http://127.0.0.1:1/ || printf 'HTTP/1.1 500 a body'", False),
        ("false", False),
    ],
)
async def test_its_self_test_can_fail(capsys: pytest.CaptureFixture[str], command: str, holds: bool) -> None:
    """A line whose answer has another status or text is reported as failed, and the whole demo fails."""
    held = await hold([Step("A title", command, 200, ("a body",), "why")])

    assert holds is held
    assert ("ok 1" if holds else "FAILED 1") in capsys.readouterr().out


async def test_nothing_around_it_matters(tmp_path: Path) -> None:
    """Settings in the environment, even broken ones, do not reach the demo."""
    environ = {"PRODUCTLANE_GATEWAY_LISTEN": "nowhere", "PRODUCTLANE_SCOPES": "x", "PRODUCTLANE_KEY": "y"}
    done = await run("demo", "--check", *PORTS, cwd=tmp_path, environ=environ)

    assert 0 == done.status


async def test_a_usual_port_that_is_taken_is_no_obstacle(tmp_path: Path) -> None:
    """Where somebody has port 8080, a free one is used, and that is said."""
    with ExitStack() as stack:
        with suppress(OSError):  # somebody has it already
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        async with running("demo", "--admin-port", "0", cwd=tmp_path) as demo:
            walk = await told(demo)
            answered = await shell(walk[0][0])
            await demo.end()

    assert b"Port 8080 is taken, so a free one is used." in demo.out.splitlines()
    assert "HTTP/1.1 200" in answered


async def test_a_port_that_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    """A port that was named and is taken, or named for both listeners, ends it with 2 and the address."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        taken = await run("demo", "--port", port, "--admin-port", "0", cwd=tmp_path)
        same = await run("demo", "--port", port, "--admin-port", port, cwd=tmp_path)

    assert (2, 2) == (taken.status, same.status)
    assert f"cannot listen on 127.0.0.1:{port}" in taken.err
    assert "is the address of the traffic listener too" in same.err
    assert "Traceback" not in taken.err + same.err


def test_no_two_demos_share_a_secret(tmp_path: Path) -> None:
    """Tokens and keys are made at start, and show in no repr."""
    one, other = new_setup(tmp_path), new_setup(tmp_path)

    secrets = [held.secret for setup in (one, other) for held in setup.keys]
    tokens = [caller.token for setup in (one, other) for caller in setup.callers]
    assert 6 + 4 == len({*secrets, *tokens})
    assert [] == [text for text in (*secrets, *tokens) if text in repr((one, other))]


def test_its_policies_hold_no_token(tmp_path: Path) -> None:
    """A policy file contains the digest of the caller's token, not the token."""
    setup = new_setup(tmp_path)
    setup.write("http://127.0.0.1:1/api/v2", 0, 0)

    for caller in setup.callers:
        text = (tmp_path / "policies" / f"{caller.name}.yaml").read_text()
        assert [caller.digest] == yaml.safe_load(text)["authenticate"]["tokens"]
        assert caller.token not in text
