"""Writes the tables of the docs that the program knows: settings, policy fields, refusal codes, log events.

    python docs/generate.py           writes the pages that have changed
    python docs/generate.py --check   writes nothing, and fails if a page would change

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; everything else on a page is written by hand.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.cli.doctor.finding import Id
from gateway.config.reading.collections import Many, Named
from gateway.config.reading.section import Record, Section, Setting
from gateway.config.schema.catalog import Catalog
from gateway.config.schema.gateway import Gateway
from gateway.config.schema.policy import Policy
from gateway.core.limits import ROWS, Row
from gateway.core.refusal import Code
from gateway.core.rules import RULES
from gateway.telemetry.events import EVENTS

DOCS: Final = Path(__file__).resolve().parent


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, *rows)]
    return "".join(f"| {line} |\n" for line in lines).replace("\n", f"\n|{'---|' * len(head)}\n", 1)


def settings_of(cls: type[Section], above: str = "", at_start: bool = False) -> Iterator[tuple[str, Setting, bool]]:
    """Every setting by its dotted path, and whether it counts at a start alone: ``keys.NAME.secrets``."""
    for name, one in cls.settings.items():
        path, kind, start = above + name, one.kind, at_start or one.at_start
        while isinstance(kind, Many | Named):
            path += "[]" if isinstance(kind, Many) else ".NAME"
            kind = kind.item
        if isinstance(kind, Record):
            yield from settings_of(kind.cls, f"{path}.", start)
        else:
            yield path.removesuffix("[]"), one, start


def default_of(one: Setting) -> str:
    """A default as a file would have it; nothing where the setting is required."""
    if one.required:
        return "required"
    if one.default is None or one.default == ():
        return "none"
    return f"`{str(one.default).lower() if isinstance(one.default, bool) else one.default}`"


def settings() -> str:
    """The settings of ``gateway.yaml``."""
    found = list(settings_of(Gateway))
    rows = [
        (f"`{path}`", default_of(one), one.description + (" Needs a restart." if start else ""))
        for path, one, start in found
    ]
    return table(("setting", "default", "what it is"), rows)


def policy_fields() -> str:
    """The fields of a policy."""
    rows = [(f"`{path}`", default_of(one), one.description) for path, one, _ in settings_of(Policy)]
    return table(("field", "default", "what it is"), rows)


def codes() -> str:
    """What the gateway answers itself, by status."""
    rows = sorted((str(code.status), f"`{code.value}`", code.when) for code in Code)
    return table(("status", "code", "when"), rows)


def rules() -> str:
    """The rules of the decision, in their order."""
    rows = [
        (
            f"`{rule.name}`",
            rule.summary,
            "allows" if rule.code is None else f"{rule.code.status} `{rule.code.value}`",
            f"`{rule.reason.value}`",
        )
        for rule in RULES
    ]
    return table(("rule", "decides where", "outcome", "reason"), rows)


def events() -> str:
    """The events of the log, with their fields."""

    def fields(event: Any) -> Iterator[str]:
        names = zip(event.__struct_fields__, event.__struct_encode_fields__, strict=True)
        yield from (f"`{shown}`" for name, shown in names if name not in event.untold)

    rows = [
        (f"`{one.name}`", ", ".join(fields(one)), inspect.cleandoc(one.__doc__ or "")) for one in EVENTS if one.name
    ]
    return table(("event", "fields", "meaning"), rows)


def findings() -> str:
    """What `doctor` finds."""
    rows = [(f"`{one.value}`", one.check, one.severity.value, one.fix) for one in Id]
    return table(("id", "check", "severity", "how to mend it"), rows)


def catalog_fields() -> str:
    """The fields of a catalog file."""

    def kind(one: Setting) -> str:
        return one.kind.item.expected if isinstance(one.kind, Named) else one.kind.expected

    rows = [(f"`{path}`", kind(one), default_of(one), one.description) for path, one, _ in settings_of(Catalog)]
    return table(("field", "type", "default", "what it is"), rows)


def limits() -> str:
    """What a caller, an address, a key and the gateway may hold."""
    defaults = {path: default_of(one) for path, one, _ in settings_of(Gateway)}

    def default(row: Row) -> str:
        if row.default:
            return row.default
        if row.fixed:
            return "; ".join(constant(name) for name in row.fixed)
        below = {path: value for path, value in defaults.items() if path.startswith(f"{row.setting}.")}
        return "; ".join(f"{path.rpartition('.')[2]} {value}" for path, value in below.items()) or defaults[row.setting]

    rows = [
        (
            row.what,
            row.per,
            default(row),
            f"`{row.setting}`" if row.setting else "",
            row.over,
            row.seen_in if row.limit is None else f'`limits_reached_total{{limit="{row.limit}"}}`',
        )
        for row in ROWS
    ]
    return table(("what", "per", "default", "setting", "over it", "seen in"), rows)


def constant(name: str) -> str:
    """A constant of the program, ``module:NAME``, as people write it."""
    module, _, attribute = name.partition(":")
    value = getattr(importlib.import_module(module), attribute)
    return f"{value // 1024} KiB" if value >= 1024 and value % 1024 == 0 else f"{value:g}"


PAGES: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "reference.md": {"settings": settings, "policy fields": policy_fields, "codes": codes},
    "limits.md": {"limits": limits},
    "logs.md": {"events": events},
    "policies.md": {"rules": rules},
    "doctor.md": {"findings": findings},
    "catalog.md": {"catalog fields": catalog_fields},
}


def written(text: str, name: str, content: str) -> str:
    """A page with new content between the marks of a table. Raises `LookupError` where they are not there once."""
    marked = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    if len(marked.findall(text)) != 1:
        raise LookupError(f"one <!-- {name} --> and one <!-- /{name} --> have to be there")
    return marked.sub(lambda _: content, text)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them; the exit status."""
    stale = 0
    for page, tables in PAGES.items():
        path = DOCS / page
        old = new = path.read_text("utf-8")
        for name, make in tables.items():
            new = written(new, name, make())
        if new == old:
            continue
        if "--check" in arguments:
            stale = 1
            print(f"docs/{page}: stale; run `make docs`")
        else:
            path.write_text(new, "utf-8")
            print(f"docs/{page}: written")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
