"""The command follows its files: a policy that is put there counts, and SIGHUP ends nothing."""

import signal
from pathlib import Path

import yaml

from tests.support.in_process import policy
from tests.support.recording import Upstream
from tests.support.served import serving


async def test_the_command_follows_its_files(tmp_path: Path, upstream: Upstream) -> None:
    """`serve` applies a changed policy by itself, and logs an answer to `kill -HUP` even if nothing changed."""
    async with serving(tmp_path, upstream) as served:
        before = await served.ask()
        served.process.send_signal(signal.SIGHUP)
        await served.until_said(b'"outcome":"unchanged"')
        (tmp_path / "policies" / ".new").write_text(yaml.safe_dump(policy(scopes=["contacts:read"])))
        (tmp_path / "policies" / ".new").replace(next((tmp_path / "policies").glob("*.yaml")))
        await served.until_said(b'"event":"policy_change"')
        after = await served.ask()
        status = (await served.end()).status

    assert (200, 403, 0) == (before.status, after.status, status)
