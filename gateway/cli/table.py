"""Text in columns, for a terminal or a log of a build."""

from collections.abc import Iterable, Sequence


def table(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """The rows with their cells one below the other, two spaces between columns; the last column is not padded.

    What could move the cursor of a terminal is shown as ``?``: cells tell of servers that may be hostile.
    """
    cells = [["".join([c if c.isprintable() else "?" for c in cell]) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    lines = (
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]) for row in cells
    )
    return "\n".join(indent + line.rstrip() for line in lines)


def listed(names: Iterable[str]) -> str:
    """Names in order with spaces between them, or ``-`` where there are none."""
    return " ".join(sorted(names)) or "-"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 row``, ``2 rows``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
