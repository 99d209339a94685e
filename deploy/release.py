"""The steps of a release that need no network. `.github/workflows/release.yaml` runs them; so can anybody.

    python deploy/release.py check v1.2.3                        the tag, package, chart and changelog agree
    python deploy/release.py notes 1.2.3                         prints the changelog's section of a version
    python deploy/release.py chart REGISTRY DIGEST FOLDER        writes the chart as it is published

A published chart names the image of the same release by its digest, and lists its changes for Artifact Hub. Each
command exits with 1 and says what is wrong, if something is.
"""

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "helm" / "productlane-gateway"
# Headings of the changelog, by the kinds that Artifact Hub knows.
KINDS: Final = {
    "Security": "security",
    "Removed": "removed",
    "Deprecated": "deprecated",
    "Added": "added",
    "Changed": "changed",
    "Fixed": "fixed",
}


class Unfit(Exception):
    """The tree cannot be released. The text says why."""


def versions(root: Path = ROOT) -> dict[str, str]:
    """The version that each file claims, by the name of the file."""
    chart = yaml.safe_load((root / "helm/productlane-gateway/Chart.yaml").read_text("utf-8"))
    package = re.search(r'^__version__ = "(.*)"$', (root / "gateway/__init__.py").read_text("utf-8"), re.MULTILINE)
    return {
        "gateway/__init__.py": package[1] if package else "",
        "Chart.yaml, version": str(chart["version"]),
        "Chart.yaml, appVersion": str(chart["appVersion"]),
    }


def check(tag: str, root: Path = ROOT) -> str:
    """The version of a tag, which is that of the package, of the chart, and of a section of the changelog.

    Raises `Unfit`.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?", tag):
        raise Unfit(f"{tag} is not a tag such as v1.2.3")
    version = tag.removeprefix("v")
    if other := {file: found for file, found in versions(root).items() if found != version}:
        raise Unfit(f"the tag is {tag}, and " + ", ".join(f"{file} has {found}" for file, found in other.items()))
    notes(version, (root / "CHANGELOG.md").read_text("utf-8"))
    return version


def notes(version: str, changelog: str) -> str:
    """The changelog's section of a version, without its heading. Raises `Unfit` if there is none."""
    pattern = rf"^## \[?{re.escape(version)}\]?(?: [^\n]*)?\n(.*?)(?=^## |\Z)"
    found = re.search(pattern, changelog, re.DOTALL | re.MULTILINE)
    if found is None or not found[1].strip():
        raise Unfit(f"CHANGELOG.md has no section {version}")
    return found[1].strip() + "\n"


def changes(text: str) -> list[dict[str, str]]:
    """The entries of a changelog's section, as Artifact Hub lists them."""
    sections = re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", text, re.DOTALL | re.MULTILINE)
    return [
        {"kind": KINDS[heading], "description": " ".join(entry.split())}
        for heading, body in sections
        for entry in re.findall(r"^- (.*?)(?=^- |\Z)", body, re.DOTALL | re.MULTILINE)
    ]


def publish_chart(registry: str, digest: str, folder: Path, changelog: str) -> Path:
    """Write the chart to a folder as it is published, and return its place.

    ``registry`` holds the image `productlane-gateway` with the ``digest`` ``sha256:…``. Raises `Unfit`.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Unfit(f"{digest} is not a digest such as sha256:…")
    made = folder / CHART.name
    shutil.copytree(CHART, made)
    values = (made / "values.yaml").read_text("utf-8")
    for name, value in {"registry": registry, "digest": digest}.items():
        values, count = re.subn(rf'^(  {name}: )""$', rf"\g<1>{value}", values, count=1, flags=re.MULTILINE)
        if not count:
            raise Unfit(f"values.yaml has no empty image.{name}")
    (made / "values.yaml").write_text(values, "utf-8")
    chart: dict[str, Any] = yaml.safe_load((made / "Chart.yaml").read_text("utf-8"))
    image = {
        "name": CHART.name,
        "image": f"{registry}/{CHART.name}@{digest}",
        "platforms": ["linux/amd64", "linux/arm64"],
    }
    chart["annotations"] |= {
        "artifacthub.io/images": yaml.safe_dump([image]),
        "artifacthub.io/changes": yaml.safe_dump(changes(notes(str(chart["version"]), changelog)), allow_unicode=True),
        "artifacthub.io/prerelease": str("-" in chart["version"]).lower(),
    }
    (made / "Chart.yaml").write_text(yaml.safe_dump(chart, sort_keys=False, allow_unicode=True), "utf-8")
    return made


def _changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text("utf-8")


COMMANDS: Final[Mapping[str, Callable[..., object]]] = {
    "check": check,
    "notes": lambda version: notes(version, _changelog()).rstrip(),
    "chart": lambda registry, digest, folder: publish_chart(registry, digest, Path(folder), _changelog()),
}


def main(arguments: list[str]) -> int:
    """Run one command and print what it returns."""
    try:
        name, *rest = arguments
        sys.stdout.write(f"{COMMANDS[name](*rest)}\n")
    except Unfit as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (KeyError, TypeError, ValueError):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
