"""`policy new`: a policy for a new caller, with its token."""

import hashlib
from pathlib import Path

import pytest
import yaml

from tests.support.command import run


async def test_a_new_policy_can_be_used_at_once(tmp_path: Path) -> None:
    """The file contains the digest of the printed token, and `test` accepts it."""
    done = await run("policy", "new", "billing", "--scope", "companies:read", "--audit", cwd=tmp_path)

    token = done.out.strip()
    assert 0 == done.status
    assert {
        "caller": "billing",
        "authenticate": {"tokens": [f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"]},
        "scopes": ["companies:read"],
        "mode": "audit",
    } == yaml.safe_load((tmp_path / "policies" / "billing.yaml").read_text())
    assert token not in done.err
    assert 0 == (await run("test", cwd=tmp_path)).status


async def test_an_existing_policy_is_never_changed(tmp_path: Path) -> None:
    """A second caller of the same name costs the first one nothing."""
    await run("policy", "new", "billing", "--scope", "companies:read", cwd=tmp_path)
    before = (tmp_path / "policies" / "billing.yaml").read_text()
    done = await run("policy", "new", "billing", "--scope", "tags:read", cwd=tmp_path)

    assert (2, "") == (done.status, done.out)
    assert "policies/billing.yaml exists" in done.err
    assert before == (tmp_path / "policies" / "billing.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "scope"), [("billing", "companies:raed"), ("../up", "tags:read"), ("a b", "tags:read")]
)
async def test_a_wrong_name_or_scope_writes_nothing(tmp_path: Path, name: str, scope: str) -> None:
    """A policy that a gateway would not load is not written."""
    done = await run("policy", "new", name, "--scope", scope, "--folder", tmp_path / "policies", "--json", cwd=tmp_path)

    assert (2, False) == (done.status, done.json["ok"])
    assert not (tmp_path / "policies").exists()
