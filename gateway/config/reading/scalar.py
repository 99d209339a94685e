"""What YAML readers may take a plain scalar for; durations and sizes."""

import re
from typing import Final

# YAML 1.1 (yaml.org/type) and 1.2 (section 10.3.2, the core schema) disagree. If either takes a scalar for something
# else than text, it has to be quoted, so that no two readers of one file see different values.
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_TRUTH: Final = re.compile(r"y|yes|n|no|true|false|on|off", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+"
    r"|[0-9][0-9_]*(?::[0-5]?[0-9])*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_MARK: Final = re.compile(r"=|<<")

_MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_AMOUNT: Final = re.compile(r"([0-9]+)([A-Za-z]+)")


def reads_as(text: str) -> str | None:
    """What some YAML reader takes a plain scalar for, if not for text: ``a number``, ``a date`` and so on."""
    if _NUMBER.fullmatch(text):
        return "a number"
    if _TRUTH.fullmatch(text):
        return "true or false"
    if _NULL.fullmatch(text):
        return "nothing"
    if _DATE.fullmatch(text):
        return "a date"
    return "a mark of its own" if _MARK.fullmatch(text) else None


def seconds(text: str) -> float:
    """A duration in seconds: ``500ms``, ``5s``, ``2m``, ``1h``, ``7d``. Raises `ValueError`."""
    number, unit = _amount(text)
    if unit not in _MILLISECONDS:
        raise ValueError("expected a duration such as 500ms, 5s, 2m, 1h or 7d")
    return number * _MILLISECONDS[unit] / 1000


def size(value: int | str) -> int:
    """A size in bytes: a number of bytes, or text such as ``16MiB``, ``500kB``. Raises `ValueError`."""
    if isinstance(value, int):
        return value
    number, unit = _amount(value)
    if unit not in _BYTES:
        raise ValueError("expected a size such as 16MiB, 500KiB or a number of bytes")
    return number * _BYTES[unit]


def _amount(text: str) -> tuple[int, str]:
    match = _AMOUNT.fullmatch(text)
    return (int(match[1]), match[2]) if match else (0, "")
