"""A configuration and its policies, written as files for a command."""

from pathlib import Path
from typing import Any

import yaml

from tests.support.in_process import config, policy
from tests.support.sentinels import KEY, OTHER_KEY

SECRETS = {"MAIN_KEY": KEY, "SECOND_KEY": OTHER_KEY}


def write(folder: Path, upstream: str, *policies: dict[str, Any], **settings: Any) -> Path:
    """A ``gateway.yaml`` beside its policies."""
    (folder / "policies").mkdir(exist_ok=True)
    for fields in policies or (policy(),):
        (folder / "policies" / f"{fields['caller']}.yaml").write_text(yaml.safe_dump(fields))
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config(upstream, **settings)))
    return path
