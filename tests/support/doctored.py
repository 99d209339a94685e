"""What the checks of `doctor` are shown, and what they find."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from gateway.cli.doctor.finding import Finding, Id
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import load
from tests.support.in_process import config, policy
from tests.support.sentinels import KEY


def loaded(folder: Path, *policies: dict[str, Any], **settings: Any) -> Snapshot:
    """A configuration whose one key is in a file, read without its secrets."""
    (folder / "policies").mkdir(exist_ok=True)
    for fields in policies or (policy(),):
        (folder / "policies" / f"{fields['caller']}.yaml").write_text(yaml.safe_dump(fields))
    secret = folder / "main.key"
    if not secret.exists():
        secret.write_text(KEY)
        secret.chmod(0o600)
    keys = {"keys": {"main": {"secrets": [f"file:{secret}"]}}}
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config("http://127.0.0.1:1", **(keys | settings))))
    return load(folder / "gateway.yaml", environ={}, offline=True)


def bad(found: Iterable[Finding]) -> list[tuple[Id, str]]:
    """What is wrong, by its name and in words; each says how to mend it."""
    problems = [one for one in found if one.id]
    assert all(one.fix for one in problems)
    return [(Id(one.id), one.what) for one in problems]
