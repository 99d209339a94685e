"""The README is right at every line that can be pasted."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.documents import README, ROOT, blocks, section
from tests.support.ports import free_port

WALK: Final = section("Your first gateway", README)


def test_it_is_short() -> None:
    """A newcomer reads the README in five minutes: at most 1,500 words."""
    assert len(README.split()) <= 1500


def test_the_first_command_starts_the_demo() -> None:
    """`make run` is the demo, whose lines another test pastes."""
    shown = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "run"], capture_output=True, text=True, check=True, timeout=60
    )

    assert blocks("sh", section("Run it in a minute", README)) == ["make run\n"]
    assert "productlane-gateway demo" in shown.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_walk_works_as_it_is_pasted(shell: str, tmp_path: Path) -> None:
    """Somebody who pastes every block in an empty folder gets a gateway that allows, refuses and explains."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    text, ports = WALK, {7070: free_port(), 8080: free_port(), 9090: free_port()}
    for written, free in ports.items():
        text = text.replace(str(written), str(free))
    command = tmp_path / "bin" / "productlane-gateway"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    command.chmod(0o755)
    folder = tmp_path / "empty"
    folder.mkdir()
    environ = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PRODUCTLANE_GATEWAY_LISTEN": f"127.0.0.1:{ports[8080]}",
        "PRODUCTLANE_GATEWAY_ADMIN": f"127.0.0.1:{ports[9090]}",
        "PRODUCTLANE_GATEWAY_DRAIN_DELAY": "0s",
    }
    script = "set -eu\n" + "".join(blocks("sh", text)) + "wait\n"
    done = subprocess.run(
        [shell, "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=90, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    allowed, refused = re.findall(r"HTTP/1\.1 \d.*?(?=HTTP/1\.1 \d|\Z)", done.stdout, flags=re.DOTALL)
    assert '"data"' in allowed
    assert normal(blocks("http", text)[0]) == normal(refused)


def normal(answer: str) -> str:
    """An answer without what differs from run to run."""
    return (
        re.sub(r"req_[0-9a-f]{16}", "req_", re.sub(r"(?m)^(?:Content-Length|Date): .*\r?\n", "", answer))
        .replace("\r\n", "\n")
        .strip()
    )


def test_the_policy_that_is_shown_is_one(tmp_path: Path) -> None:
    """The policy of the README is accepted unchanged."""
    from click.testing import CliRunner

    from gateway.cli.program import _program

    (tmp_path / "billing.yaml").write_text(blocks("yaml", section("What a policy can say", README))[0])
    (tmp_path / "billing.cases.yaml").write_text("- [DELETE /companies/c_1, forbidden]\n")
    done = CliRunner().invoke(_program, ["test", str(tmp_path)])

    assert done.exit_code == 0, done.output
