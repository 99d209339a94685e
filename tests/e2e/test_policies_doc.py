"""The walk of `docs/policies.md` from a trial to an enforced policy, line by line in a real shell."""

from pathlib import Path

import pytest

from tests.support.command import ROOT
from tests.support.walk import Walk

WALK = Walk((ROOT / "docs" / "policies.md").read_text(), {r"sha256:[0-9a-f]+": "DIGEST"})


async def test_the_walk_as_it_is_told(tmp_path: Path) -> None:
    """Every line can be typed as printed, against a real gateway and simulator, and gives the printed answer."""
    assert WALK.told() == await WALK.typed(tmp_path)


@pytest.mark.parametrize(
    "command", ["explain", "test", "report", "report --grant-audited", "policy diff", "token", "serve", "simulate"]
)
def test_the_walk_shows_the_commands(command: str) -> None:
    """The walk cannot lose a step unseen: each command around policies is typed in it."""
    assert any(f"productlane-gateway {command}" in line for line, _ in WALK.steps())
