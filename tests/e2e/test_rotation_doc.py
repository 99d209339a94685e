"""The rotation in `docs/rotation.md`, typed line by line in a real shell: each line prints what the text shows."""

from pathlib import Path

import pytest

from tests.support.command import ROOT
from tests.support.walk import Walk

WALK = Walk((ROOT / "docs" / "rotation.md").read_text(), {r"\b\d+ (?:s|min)\b": "DURATION"})


async def test_the_rotation_as_it_is_told(tmp_path: Path) -> None:
    """Every line of the walk-through can be typed as printed and gives the printed answer."""
    assert WALK.told() == await WALK.typed(tmp_path)


@pytest.mark.parametrize("command", ["keys", "keys --admin", "simulate", "serve"])
def test_the_text_shows_the_commands(command: str) -> None:
    """The walk-through contains each command of a rotation, so no step can be lost unnoticed."""
    assert f"productlane-gateway {command}" in WALK.text
