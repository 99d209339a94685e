"""Where a listener listens, as a value."""

from pathlib import Path
from typing import NamedTuple


class Address(NamedTuple):
    """Where a listener listens: ``host`` and ``port``, or a unix socket's ``path``."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
