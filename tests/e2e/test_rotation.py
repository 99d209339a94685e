"""A key is rotated while callers go on: by the real command, against the simulator, from files."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.rotating import SCOPES, Stage, load, overwrite, replace_file, stage

BAD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "unknown to Productlane": ({"known": False}, "rejected"),
    "of another workspace": ({"workspace": "wks_other"}, "wrong_workspace"),
    "with fewer scopes": ({"scopes": SCOPES - {"companies:write"}}, "standby"),
}


async def more(stage: Stage, count: int = 30) -> None:
    """Wait until this many more requests have reached Productlane."""
    goal = stage.simulator.arrivals.count + count
    await stage.until(lambda: stage.simulator.arrivals.count >= goal)


async def test_rotations_under_load_lose_no_request(tmp_path: Path) -> None:
    """A key that is rotated again and again, each old secret revoked as soon as the new one serves, fails no caller."""
    async with stage(tmp_path) as it, load(it):
        await more(it)
        for turn in range(6):
            old, key = it.secret, it.mint()
            await it.promoted(key, overwrite if turn % 2 else replace_file)
            it.simulator.keys.revoke(old)
            it.secret = key.secret
            await more(it)

    assert {} == it.failures
    assert [] == it.without_one_key()


async def test_a_revoke_before_the_rotation_loses_no_request(tmp_path: Path) -> None:
    """If the old secret is revoked at the moment when the new one is written, the standby serves."""
    async with stage(tmp_path) as it, load(it):
        second = it.mint()
        await it.promoted(second, replace_file)
        third = it.mint()
        await it.until_shows(second.secret[6:10], "active")
        await asyncio.to_thread(replace_file, it.file, third.secret)
        it.simulator.keys.revoke(second.secret)
        await it.until(lambda: it.used(third))
        await more(it)

    assert {} == it.failures
    assert [] == it.without_one_key()


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_secret_changes_nothing(kind: str, tmp_path: Path) -> None:
    """A bad new secret is never sent with a request: the old one serves, and the status shows why."""
    parts, state = BAD[kind]
    async with stage(tmp_path) as it, load(it):
        for _ in range(3):
            key = it.mint(**parts)
            await asyncio.to_thread(replace_file, it.file, key.secret)
            await it.until_shows(key.secret[6:10], state)
            await it.until_shows(it.secret[6:10], "active")
            await more(it)
        sent = {one.header("Authorization")[0] for one in it.forwarded}

    assert {} == it.failures
    assert {f"Bearer {it.secret}"} == sent
    assert [] == it.without_one_key()
