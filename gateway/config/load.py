"""Loads files, environment and flags into one `Snapshot`, once or whenever they change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.assembly.assembly import Assembly
from gateway.config.assembly.narrowing import narrowed
from gateway.config.assembly.policies import PolicyCache
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.reading.document import Document
from gateway.config.reading.problem import ConfigError, Problem
from gateway.config.reading.source import open_document
from gateway.config.schema import environment
from gateway.net.contents import Contents, read_contents


class ConfigSource:
    """Where a configuration comes from: ``gateway.yaml``, else that of ``PRODUCTLANE_GATEWAY_CONFIG``, else a sidecar.

    ``flags`` are single settings by dotted path, as ``{"upstream.url": …}``. Relative paths in a file are relative to
    its folder, those in flags and variables to the working directory. ``environ`` is that of the start: a process's own
    never changes from outside. A later load parses only the policies that have changed since the one before; whatever
    is checked is checked all the same.
    """

    __slots__ = ("_cache", "_file", "environ", "flags")

    def __init__(self, path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> None:
        name = path or environ.get(environment.CONFIG)
        self._file: Final = Path(name) if name else None
        self.environ: Final = environ
        self.flags: Final = flags or {}
        self._cache: Final = PolicyCache()

    def load(self, *, offline: bool = False) -> Snapshot:
        """The checked configuration as the files are now.

        ``offline`` reads policies and catalog files alone: no secret, certificate or key set has to be there, and the
        snapshot holds no secret. Raises `ConfigError` with every problem there is.
        """
        problems: list[Problem] = []
        if self._file is None and not (environment.KEY in self.environ or environment.SCOPES in self.environ):
            environment.check_variables(self.environ, None, problems)
            raise ConfigError([*problems, Problem(environment.ENVIRONMENT, 0, "", environment.NOTHING)])
        if self._file is not None and environment.SCOPES in self.environ:
            message = f"is for a sidecar without files, and {self._file} is in use; put the scopes into a policy"
            problems.append(Problem(environment.ENVIRONMENT, 0, environment.SCOPES, message))
        document, policy = self._opened(problems)
        if document.root is not None:
            environment.check_variables(self.environ, document.root, problems)
            snapshot = Assembly(document, self.environ, offline=offline, cache=self._cache).snapshot(policy)
            if not problems:
                return snapshot
        raise ConfigError(_in_order(problems))

    def narrowed(self, running: Snapshot) -> Snapshot:
        """The running configuration less what its files no longer grant: see `narrowing`. It blocks."""
        return running if self._file is None else narrowed(running, self._cache)

    def paths(self) -> list[Path]:
        """Every file and folder that `load` would read, as far as the document says so, however wrong it is.

        While the document cannot be parsed, they are those that it named last: a revocation among them still counts.
        """
        document, _ = self._opened([])
        if document.root is not None:
            self._cache.paths = Assembly(document, self.environ).paths(alone=self._file is None)
        return [*([] if self._file is None else [self._file]), *self._cache.paths]

    def contents(self) -> Contents:
        """The contents of the files. Read them before a load, so that no later change is missed."""
        return read_contents(self.paths(), counts)

    def _opened(self, problems: list[Problem]) -> tuple[Document, Document | None]:
        """The configuration, and the policy of a sidecar, which has no folder of them."""
        if self._file is None:
            document, policy = environment.sidecar(self.environ, problems)
        else:
            document, policy = open_document(self._file, problems), None
        return environment.overlaid(document, self.environ, self.flags), policy


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    offline: bool = False,
) -> Snapshot:
    """The configuration of a source that is read once: see `ConfigSource`. Raises `ConfigError`."""
    return ConfigSource(path, environ, flags).load(offline=offline)


def counts(name: str) -> bool:
    """Whether a file in the folder of policies is part of the configuration; truth tables are not."""
    return not name.startswith(".") and name.endswith((".yaml", ".yml", ".json")) and not name.endswith(".cases.yaml")


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By file, in the order of reading, and by line: the order in which a person mends them."""
    files = {problem.file: place for place, problem in reversed([*enumerate(problems)])}
    return sorted(problems, key=lambda problem: (files[problem.file], problem.line))
