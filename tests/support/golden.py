"""Rewrites the golden files: ``python -m tests.support.golden``, by `make golden`."""

import yaml

from tests.support.deploy_tools import ROOT, SHAPES, Manifest, rendered


def golden(shape: str) -> str:
    """The chart's objects for a shape, without the files that it copies from ``monitoring/``."""
    return yaml.safe_dump_all(map(_cut, rendered("4", shape)), sort_keys=True, width=110)


def _cut(one: Manifest) -> Manifest:
    if one["kind"] == "PrometheusRule":
        return {**one, "spec": "monitoring/rules.yaml"}
    if one["metadata"]["name"].endswith("-dashboard"):
        return {**one, "data": dict.fromkeys(one["data"], "monitoring/dashboard.json")}
    return one


if __name__ == "__main__":
    for shape in SHAPES:
        (ROOT / "tests" / "deploy" / "golden" / f"{shape}.yaml").write_text(golden(shape))
