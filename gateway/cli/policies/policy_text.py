"""A policy file with other grants: what its owner wrote stays, with the comments, as far as it still holds."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from gateway.callers.kinds import KINDS
from gateway.config.assembly.policies import PolicyFile, check_policy
from gateway.config.reading.problem import Problem
from gateway.config.reading.source import parse
from gateway.core.catalog import Catalog, plain
from gateway.core.policy import Policy

_TOP_LEVEL: Final = re.compile(r"^[^\s#-]")
_ITEM: Final = re.compile(r"^(\s*)-\s+(\"[^\"]*\"|'[^']*'|.*?)\s*(?:\s#.*)?$")
_COMMENT: Final = re.compile(r"^\s*#")
# What a section that is new stands before: the order of a policy in the documents.
_AFTER: Final = ("endpoints", "deny", "mode", "expires", "limits", "weight")


def with_grants(text: str, file: PolicyFile, policy: Policy, catalog: Catalog) -> str:
    """The text of ``file``, with the scopes and endpoints of ``policy``; everything else of the two is the same.

    The lines of what goes are taken out, with the comments right above them, and new ones are added behind the others.
    A text that cannot be edited so, as one in flow style, is written anew, without its comments.
    """
    lines = text.splitlines()
    lines = _with_section(lines, "scopes", sorted(policy.scopes), str, _AFTER)
    names = sorted(endpoint.name for endpoint in policy.endpoints)
    lines = _with_section(lines, "endpoints", names, plain, _AFTER[1:])
    edited = "\n".join(lines) + "\n"
    return edited if _read(edited, file, catalog) == policy else _anew(file, policy)


def _read(text: str, file: PolicyFile, catalog: Catalog) -> Policy | None:
    problems: list[Problem] = []
    document = parse(str(file.file), text.encode(), problems)
    found = check_policy(document, catalog).files
    return found[0].policy if found and not problems else None


def _with_section(
    lines: list[str], name: str, wanted: Iterable[str], same: Callable[[str], str], before: Iterable[str]
) -> list[str]:
    """The lines with a list of exactly these names at a key; names are equal where ``same`` makes them so."""
    missing = {same(text): text for text in wanted}
    start = next((n for n, line in enumerate(lines) if re.match(rf"{name}\s*:", line)), None)
    if start is None:
        place = next((n for n, line in enumerate(lines) if line.split(":")[0] in before), len(lines))
        return [*lines[:place], *_block(name, missing.values()), *lines[place:]] if missing else lines
    end = _end(lines, start)
    kept = _kept(lines[start + 1 : end], missing, same)
    if not kept:
        return [*lines[:start], *_block(name, missing.values()), *lines[end:]]
    item = _ITEM.match(next(line for line in kept if _ITEM.match(line)))
    indent = item[1] if item else "  "
    added = [f"{indent}- {text}" for text in missing.values()]
    return [*lines[: start + 1], *kept, *added, *lines[end:]]


def _end(lines: list[str], start: int) -> int:
    """Where a section ends: before the next key of the top level and what is said above it."""
    end = next((n for n in range(start + 1, len(lines)) if _TOP_LEVEL.match(lines[n])), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end


def _kept(lines: Iterable[str], missing: dict[str, str], same: Callable[[str], str]) -> list[str]:
    """The lines of a list in block style whose names are wanted; those names are taken out of ``missing``."""
    kept: list[str] = []
    above: list[str] = []
    for line in lines:
        item = _ITEM.match(line)
        if item is None:
            above.append(line)
            continue
        if missing.pop(same(item[2].strip("\"'")), None) is not None:
            kept += [*above, line]
        above = []
    return kept + [line for line in above if kept and _COMMENT.match(line)]


def _block(name: str, texts: Iterable[str]) -> list[str]:
    items = [f"  - {text}" for text in texts]
    return [f"{name}:", *items] if items else []


def _anew(file: PolicyFile, policy: Policy) -> str:
    """The whole file as the gateway reads it."""
    limits = {"reads_per_minute": policy.reads, "writes_per_minute": policy.writes}
    fields = {
        "caller": policy.caller,
        "authenticate": {name: _written(name, entries) for name, entries in file.authenticate.items()},
        "scopes": sorted(policy.scopes),
        "endpoints": sorted(endpoint.name for endpoint in policy.endpoints),
        "deny": sorted(endpoint.name for endpoint in policy.deny),
        "mode": "audit" if policy.audit else None,
        "expires": policy.expires,
        "limits": _filled(limits),
        "weight": policy.weight if policy.weight != 1 else None,
    }
    return yaml.safe_dump(_filled(fields), sort_keys=False, allow_unicode=True, width=1000)


def _written(kind: str, entries: Sequence[Any]) -> object:
    """What stands in `authenticate` for one kind of credential."""
    return True if entries == (True,) else [KINDS[kind].written(entry) for entry in entries]


def _filled(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
