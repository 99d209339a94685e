"""The source of a configuration: how to load it again, and its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.assembly.assembly import Assembly
from gateway.config.assembly.narrowing import narrowed
from gateway.config.assembly.policies import PolicyCache
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import load
from gateway.config.reading.problem import Problem
from gateway.config.reading.source import open_document
from gateway.config.schema import environment
from gateway.net.contents import Contents, read_contents


class ConfigSource:
    """The arguments of `load`. The environment is that of the start: a process's own never changes from outside.

    A later load parses only the policies that have changed since the one before.
    """

    __slots__ = ("_cache", "environ", "flags", "path")

    def __init__(self, path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> None:
        self.path: Final = path
        self.environ: Final = environ
        self.flags: Final = flags or {}
        self._cache: Final = PolicyCache()

    def load(self) -> Snapshot:
        """The checked configuration as the files are now. Raises `ConfigError`."""
        return load(self.path, environ=self.environ, flags=self.flags, cache=self._cache)

    def narrowed(self, running: Snapshot) -> Snapshot:
        """The running configuration less what its files no longer grant: see `narrowing`. It blocks."""
        has_files = self.path is not None or bool(self.environ.get(environment.CONFIG))
        return narrowed(running, self._cache) if has_files else running

    def paths(self) -> list[Path]:
        """Every file and folder that `load` would read, as far as the document says so, however wrong it is.

        While the document cannot be parsed, they are those that it named last: a revocation among them still counts.
        """
        ignored: list[Problem] = []
        name = self.path or self.environ.get(environment.CONFIG)
        if name:
            path = Path(name)
            document = environment.overlaid(open_document(path, ignored), self.environ, self.flags)
            if document.root is not None:
                self._cache.paths = Assembly(document, self.environ).paths()
            return [path, *self._cache.paths]
        document, _ = environment.sidecar(self.environ, ignored)
        return Assembly(environment.overlaid(document, self.environ, self.flags), self.environ).paths(alone=True)

    def contents(self) -> Contents:
        """The contents of the files. Read them before a load, so that no later change is missed."""
        return read_contents(self.paths(), counts)


def counts(name: str) -> bool:
    """Whether a file in the folder of policies is part of the configuration; truth tables are not."""
    return not name.startswith(".") and name.endswith((".yaml", ".yml", ".json")) and not name.endswith(".cases.yaml")
