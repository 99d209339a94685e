"""The project's documents as tests read them: pages, their sections, code blocks, and tables of names."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text("utf-8")
REFERENCE: Final = (ROOT / "docs" / "reference.md").read_text("utf-8")


def section(title: str, page: str = REFERENCE) -> str:
    """The text below a heading of the second rank."""
    return re.split(r"^## ", page.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(kind: str, text: str) -> list[str]:
    """The code blocks of a kind, such as `sh`, in their order."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def named(title: str) -> set[str]:
    """The names in the first column of a section's table; `.audience` continues the path before it."""
    names: set[str] = set()
    for row in re.findall(r"^\| (`[^|]*) \|", section(title), flags=re.MULTILINE):
        stem = ""
        for name in re.findall(r"`([^`]+)`", row):
            full = stem + name if name.startswith(".") else name
            stem = full.rpartition(".")[0]
            names.add(full)
    return names


def metrics() -> set[str]:
    """The metrics of the table, without their prefix."""
    rows = re.findall(r"^\| (`.*?) \|", section("Metrics"), flags=re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def settings(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every setting of a JSON Schema as a dotted path."""
    if "anyOf" in node:
        for one in node["anyOf"]:
            yield from settings(schema, one, path)
        return
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("type") == "array" and isinstance(node.get("items"), dict):
        inner = list(settings(schema, node["items"], f"{path}[]"))
        yield from inner if inner != [f"{path}[]"] else [path]
    elif node.get("properties"):
        for name, below in node["properties"].items():
            yield from settings(schema, below, f"{path}.{name}" if path else name)
    elif isinstance(node.get("additionalProperties"), dict) and node["additionalProperties"]:
        yield from settings(schema, node["additionalProperties"], f"{path}.NAME")
    else:
        yield path
