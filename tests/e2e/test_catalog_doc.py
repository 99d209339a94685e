"""The files and lines of `docs/catalog.md`, typed in a real shell: each prints what the text shows."""

from pathlib import Path

from tests.support.command import ROOT
from tests.support.walk import Walk

WALK = Walk((ROOT / "docs" / "catalog.md").read_text(), {})


async def test_the_page_as_it_is_told(tmp_path: Path) -> None:
    """An endpoint is added as the page says, and a mistake in its file is reported as the page says."""
    assert WALK.told() == await WALK.typed(tmp_path)
    assert len(WALK.steps()) == 6
