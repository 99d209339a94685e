"""What is wrong with the configuration: one value for each problem, and the error that carries them all."""

import difflib
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import force_setattr

# The way to a value: names of keys and places in lists, as in ("routes", 0, "path").
Steps: TypeAlias = tuple[str | int, ...]

# A key of Productlane or a caller's token, with more than its prefix; a sentence may name the prefix alone.
_SECRET: Final = re.compile(r"(pl_v[0-9]+_|plgw_)[^\s`…]{4,}")
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST: Final = 60


class Problem(msgspec.Struct, frozen=True):
    """One thing to put right. ``line`` counts from 1, or is 0 where there is none; ``where`` is as ``routes[0].path``.

    No part of it holds a secret: what looks like one, be it a name or a path, is cut to its prefix. Each is printable,
    and so is one line, whatever the name of a file is.
    """

    file: str
    line: int
    where: str
    message: str

    def __post_init__(self) -> None:
        for name in ("file", "where", "message"):
            force_setattr(self, name, _printable(_SECRET.sub(r"\1…", getattr(self, name))))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.where, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` is everything that is wrong, in all files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Final = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Steps) -> str:
    """A path as people write it: ``routes[0].path``, ``scopes."threads:read"``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _WORD.fullmatch(step) else f'"{legible(step)}"')
    return text


def legible(text: str) -> str:
    """Text from a file as a message may show it: printable, at most 60 characters, keys of Productlane cut short."""
    text = _printable(_SECRET.sub(r"\1…", text))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def shown(text: str) -> str:
    """`legible` in back-ticks."""
    return f"`{legible(text)}`"


def did_you_mean(wrong: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean "…"?`` with the nearest of the names, or nothing where none is near (1 is equal)."""
    near = difflib.get_close_matches(wrong, list(names), n=1, cutoff=cutoff)
    return f'; did you mean "{near[0]}"?' if near else ""
