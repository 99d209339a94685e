"""Files that are replaced whole: a gateway that watches the folder never reads half of one."""

import os
from collections.abc import Mapping
from pathlib import Path


def write_folder(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Write files by name into a folder, each by renaming a whole one; says for each what became of it.

    Files that hold their text already are not touched. Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, text in sorted(texts.items()):
        file = folder / name
        before = file.read_text("utf-8") if file.exists() else None
        if before == text:
            lines.append(f"{file}: unchanged")
            continue
        beside = folder / f".{name}.new"
        try:
            with beside.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        lines.append(f"{file}: {'written' if before is None else 'replaced'}")
    return lines
