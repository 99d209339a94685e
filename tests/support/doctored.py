"""Configurations for the checks of `doctor`, and their findings as tests compare them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.cli.doctor.finding import Finding
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import load
from tests.support.in_process import write


def loaded(folder: Path, *policies: dict[str, Any], **settings: Any) -> Snapshot:
    """A configuration whose one key is in a file, read without its secrets."""
    path = write(folder, "http://127.0.0.1:1", *policies, **{"own_key": True, **settings})
    return load(path, environ={}, offline=True)


def bad(found: Iterable[Finding]) -> list[tuple[str, str]]:
    """The problems with id and text; each names a fix."""
    problems = [one for one in found if one.id]
    assert all(one.fix for one in problems)
    return [(one.id, one.what) for one in problems]
