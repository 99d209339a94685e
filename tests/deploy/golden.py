"""Writes the golden files anew: ``python -m tests.deploy.golden``, by `make golden`."""

import yaml

from tests.deploy.tools import ROOT, SHAPES, rendered

if __name__ == "__main__":
    for shape in SHAPES:
        text = yaml.safe_dump_all(rendered("4", shape), sort_keys=True, width=110)
        (ROOT / "tests" / "deploy" / "golden" / f"{shape}.yaml").write_text(text)
