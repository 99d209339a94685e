"""Writes the generated files: the chart's schema, the table in its README, copies of ``monitoring/``, and patches.

    python helm/generate.py           writes the files that have changed
    python helm/generate.py --check   writes nothing, and fails if a file would change

``values.yaml`` is the source of the schema and the table. A comment ``# --`` above a value says what the value is for;
it may have several lines. ``# @schema`` adds a piece of JSON Schema, written as YAML. The rest of a value's schema is
its type: a mapping with entries is closed, an empty mapping is open. ``config``, ``routes`` and ``policies`` take the
gateway's own schemas. The patches put the sidecar of ``deploy/sidecar`` into Kustomize's component.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "helm" / "productlane-gateway"
TABLE: Final = re.compile(r"(?<=<!-- values -->\n).*?(?=<!-- /values -->)", re.DOTALL)
MONITORING: Final = ROOT / "monitoring"
SIDECAR: Final = ROOT / "deploy" / "sidecar"
# What a patch of Kustomize has above the template of a pod, by file.
PATCHES: Final = {
    "sidecar.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: any\nspec:\n  template:\n",
    "cronjob.yaml": "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: any\nspec:\n  jobTemplate:\n    spec:\n"
    "      template:\n",
}
# A PodMonitor and a NetworkPolicy find pods with a sidecar by this label.
POD_LABEL: Final = '    metadata:\n      labels:\n        productlane-gateway/sidecar: "true"\n    spec:\n'
# Helm reads no file outside a chart.
COPIED: Final = ("rules.yaml", "dashboard.json")

# What the chart itself decides; see `_config.tpl`.
OWNED: Final = ("listen", "admin", "tls", "keys", "routes", "policies", "store")
KEY: Final = {
    "type": "object",
    "description": "An upstream credential: a Secret's entries, or sources in the gateway's own words.",
    "properties": {
        "existingSecret": {"type": "string", "minLength": 1},
        "secretKeys": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$"}},
        "secrets": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^(file:/|env:).+$"}},
        "workspace": {"type": "string", "minLength": 1},
    },
    "oneOf": [{"required": ["existingSecret"]}, {"required": ["secrets"]}],
    "dependencies": {"secretKeys": ["existingSecret"]},
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Note:
    """What the comments above a value say."""

    text: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)


def notes(text: str) -> Iterator[tuple[str, Note]]:
    """The dotted path of each value that has comments right above it."""
    path: list[tuple[int, str]] = []
    words: list[str] = []
    schema: list[str] = []
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*# (--|@schema)? ?(.*)", line):
            if found[1] == "@schema":
                schema.append(found[2])
            elif found[1] == "--" or words:
                words.append(found[2])
            continue
        if found := re.match(r"( *)([A-Za-z]+):", line):
            path = [*(step for step in path if step[0] < len(found[1])), (len(found[1]), found[2])]
            parts = [yaml.safe_load(part) for part in schema]
            yield (
                ".".join(name for _, name in path),
                Note(" ".join(words), {k: v for one in parts for k, v in one.items()}),
            )
        words, schema = [], []


def schema_of(value: object, known: Mapping[str, Note], path: str = "") -> dict[str, Any]:
    """The schema of a value and what is below it."""
    note = known.get(path, Note())
    made: dict[str, Any] = {"description": note.text} if note.text else {}
    if "$ref" in note.schema:
        return {**note.schema}
    kinds = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    made["type"] = kinds.get(type(value), "null")
    if isinstance(value, dict) and value and _is_section(value, known, path):
        below = {name: schema_of(child, known, f"{path}.{name}".lstrip(".")) for name, child in value.items()}
        made |= {"properties": below, "additionalProperties": False}
    return {**made, **note.schema}


def _is_section(value: Mapping[str, Any], known: Mapping[str, Note], path: str) -> bool:
    """Whether the chart reads a mapping's entries one by one, and does not pass it on whole."""
    return not path or any(note.text or note.schema for name, note in known.items() if name.startswith(f"{path}."))


def own_schema(kind: str, prefix: str) -> dict[str, Any]:
    """A schema of the gateway's, in the draft that every Helm understands, its definitions' names with a prefix."""
    command = [sys.executable, "-m", "gateway", "schema", kind]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603
    made: dict[str, Any] = json.loads(text.replace("#/$defs/", f"#/definitions/{prefix}."))
    return {name: _with_plain_patterns(entry) for name, entry in made.items()}


def _with_plain_patterns(schema: Any) -> Any:
    """A schema without lookahead, which Go's expressions (RE2) have not.

    One that opens a pattern becomes a ``not`` beside it. Deeper ones go: the gateway itself refuses what they say.
    """
    if isinstance(schema, list):
        return [_with_plain_patterns(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _with_plain_patterns(entry) for name, entry in schema.items()}
    if isinstance(pattern := made.get("pattern"), str):
        if pattern.startswith("^(?!"):
            made["not"] = {"pattern": f"^(?:{_group(pattern, 1)[4:-1]})"}
        while (place := max(pattern.find("(?!"), pattern.find("(?="))) >= 0:
            pattern = pattern.replace(_group(pattern, place), "", 1)
        made["pattern"] = pattern
    return made


def _group(pattern: str, start: int) -> str:
    """The group that opens at a place. A bracket in it may hold no parenthesis, and none here does."""
    depth = 0
    for place in range(start, len(pattern)):
        if pattern[place - 1] != "\\":
            depth += {"(": 1, ")": -1}.get(pattern[place], 0)
        if not depth:
            break
    return pattern[start : place + 1]


def values_schema(text: str) -> str:
    """``values.schema.json`` as text."""
    made = schema_of(yaml.safe_load(text), dict(notes(text)))
    config, policy = own_schema("config", "config"), own_schema("policy", "policy")
    made["definitions"] = {f"config.{name}": entry for name, entry in config.pop("$defs").items()}
    made["definitions"] |= {f"policy.{name}": entry for name, entry in policy.pop("$defs").items()}
    made["definitions"] |= {"config": _without(config, OWNED), "policy": _without(policy, ("caller",)), "key": KEY}
    title = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart productlane-gateway"}
    return json.dumps(title | made, indent=2, ensure_ascii=False) + "\n"


def _without(schema: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    rest = {name: entry for name, entry in schema.items() if name not in {"$schema", "title", "required"}}
    rest["properties"] = {name: entry for name, entry in schema["properties"].items() if name not in names}
    required = [name for name in schema.get("required", ()) if name not in names]
    return rest | ({"required": required} if required else {})


def rows(value: Mapping[str, Any], known: Mapping[str, Note], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, default and meaning of each value, for the table."""
    for name, child in value.items():
        path = f"{above}.{name}".lstrip(".")
        note = known.get(path, Note())
        section = isinstance(child, dict) and child and _is_section(child, known, path)
        if note.text or not section:
            shown = "" if section else f"`{json.dumps(child, ensure_ascii=False)}`"
            yield path, shown.replace("|", "\\|"), note.text.replace("|", "\\|")
        if section:
            yield from rows(child, known, path)


def table(text: str) -> str:
    """The table of values in Markdown."""
    lines = [
        f"| `{path}` | {default} | {text} |" for path, default, text in rows(yaml.safe_load(text), dict(notes(text)))
    ]
    return "\n".join(["| value | default | what it is for |", "|---|---|---|", *lines]) + "\n"


def patch(manifest: str, head: str) -> str:
    """A patch of Kustomize that adds the gateway of a manifest, with its volumes. It grants no scope.

    ``manifest`` is the text of a Deployment; ``head`` is what the patch has above the template of the pod.
    """
    parts = re.findall(r"^ {6}(?:initContainers|volumes):\n(?: {8}.*\n)+", manifest, re.MULTILINE)
    text = re.sub(r" +- name: PRODUCTLANE_SCOPES\n +value: .*\n", "", POD_LABEL + "".join(parts))
    depth = len(re.findall(r"\n( *)\w+:\n\Z", head)[0]) + 2
    return head + re.sub(r"^ {4}", " " * depth, text, flags=re.MULTILINE)


def patches() -> dict[Path, str]:
    """The patches of Kustomize's component, from the manifests that people copy."""
    return {
        SIDECAR / "component" / variant / name: patch((SIDECAR / f"{variant}.yaml").read_text("utf-8"), head)
        for variant in ("loopback", "unix-socket")
        for name, head in PATCHES.items()
    }


def wanted() -> dict[Path, str]:
    """Each generated file, and the text that it should have."""
    text = (CHART / "values.yaml").read_text("utf-8")
    readme = CHART / "README.md"
    made = {
        CHART / "values.schema.json": values_schema(text),
        readme: TABLE.sub(lambda _: table(text), readme.read_text("utf-8")),
    }
    sources = {CHART / "files" / name: MONITORING / name for name in COPIED}
    return made | {path: source.read_text("utf-8") for path, source in sources.items() if source.exists()} | patches()


def main() -> int:
    """Write what has changed; with ``--check`` tell it and return 1."""
    check = "--check" in sys.argv[1:]
    changed = {path: text for path, text in wanted().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in changed.items():
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'stale; run `make chart`' if check else 'written'}\n")
        if not check:
            path.write_text(text, "utf-8")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
