"""Names and files: the kinds of value that several rooms declare settings of."""

from pathlib import Path
from typing import Final

from gateway.config.reading.kinds import Located, Text

# Names appear in logs and metrics, so nothing that looks like a key or a token is one.
NAME: Final = Text(
    "a name of letters, digits, `.`, `_` and `-`, at most 64",
    r"^(?!pl_v[0-9]|plgw_)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
    parse=str,
)


def in_folder(text: str, folder: Path) -> Path:
    """The path that a text names, with ``file:`` or without, from a folder."""
    return folder / text.removeprefix("file:")


def itself(path: Path) -> Path:
    """The file that a value stands for, where the value is its path."""
    return path


FILE: Final = Located("the path of a file", locate=in_folder, file=itself)
