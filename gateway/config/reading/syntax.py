"""Explains a fault of the YAML parser to the author of the file. Shows no excerpt: it could hold a secret."""

import re
from typing import Final

import yaml

_ORDER: Final = "keys of one mapping begin in one column, and what belongs to a key is indented by two more spaces"
_TWO_VALUES: Final = re.compile(r"^[^#'\"\[{]*?: +[^#'\"\[{]*?: ")


def explain(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line of a fault, 0 where there is none, and a sentence about it."""
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    if mark is None:
        return 0, f"is not valid YAML: {what}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    begun = context.line if context is not None else mark.line
    return mark.line + 1, f"is not valid YAML: {_meaning(what, line, line[mark.column : mark.column + 1], begun + 1)}"


def _meaning(what: str, line: str, character: str, begun: int) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab indents this line; use spaces"
    if "cannot start any token" in what:
        return f"text that begins with `{character}` has to be quoted" if character.isprintable() else what
    if "expected ','" in what:
        return f"`[` or `{{` of line {begun} is not closed, or text in it that holds one of [ ] {{ }} , is not quoted"
    if "end of stream" in what:
        return f"a quote that opens in line {begun} is never closed"
    if "mapping values are not allowed" in what and _TWO_VALUES.match(line):
        return "this line has `: ` twice; quote the text, or put the inner mapping on lines of its own"
    if "mapping values are not allowed" in what or "expected key" in what or "expected '-'" in what:
        return f"the indentation does not fit the lines above; {_ORDER}"
    return what
