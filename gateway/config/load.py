"""Everything that is configured, from files, environment and flags to one `Snapshot`."""

from collections.abc import Mapping
from pathlib import Path

from gateway.config import settings
from gateway.config.assembly import Assembly
from gateway.config.policies import Kept
from gateway.config.problem import ConfigError, Problem
from gateway.config.snapshot import Snapshot
from gateway.config.source import open_document


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    offline: bool = False,
    kept: Kept | None = None,
) -> Snapshot:
    """The checked configuration of ``gateway.yaml``; without a path, of ``PRODUCTLANE_GATEWAY_CONFIG`` or of a sidecar.

    ``flags`` are single settings by dotted path, as ``{"upstream.url": …}``. Relative paths in a file are relative to
    its folder, those in flags and variables to the working directory. ``offline`` reads policies and catalog files
    alone: no secret, certificate or key set has to be there, and the snapshot holds no secret. ``kept`` spares a later
    load the policies that have not changed since; whatever is checked is checked all the same.

    Raises `ConfigError` with every problem there is.
    """
    problems: list[Problem] = []
    if path is None and environ.get(settings.CONFIG):
        path = Path(environ[settings.CONFIG])
    if path is not None:
        snapshot = _from_file(path, environ, flags or {}, problems, offline, kept)
    elif settings.KEY in environ or settings.SCOPES in environ:
        snapshot = _from_environment(environ, flags or {}, problems, offline)
    else:
        settings.check_variables(environ, None, problems)
        raise ConfigError([*problems, Problem(settings.ENVIRONMENT, 0, "", settings.NOTHING)])
    if problems or snapshot is None:
        raise ConfigError(_in_order(problems))
    return snapshot


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By file, as they were met, and by line: the order in which somebody puts them right."""
    files = {problem.file: place for place, problem in reversed([*enumerate(problems)])}
    return sorted(problems, key=lambda problem: (files[problem.file], problem.line))


def _from_file(
    path: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    problems: list[Problem],
    offline: bool,
    kept: Kept | None,
) -> Snapshot | None:
    if settings.SCOPES in environ:
        message = f"is for a sidecar without files, and {path} is in use; put the scopes into a policy"
        problems.append(Problem(settings.ENVIRONMENT, 0, settings.SCOPES, message))
    document = settings.overlaid(open_document(path, problems), environ, flags)
    if document.root is None:
        return None
    settings.check_variables(environ, document.root, problems)
    return Assembly(document, path.parent, environ, offline=offline, kept=kept).snapshot(None)


def _from_environment(
    environ: Mapping[str, str], flags: Mapping[str, str], problems: list[Problem], offline: bool
) -> Snapshot:
    settings.check_variables(environ, None, problems)
    document, policy = settings.sidecar(environ, problems)
    return Assembly(settings.overlaid(document, environ, flags), Path(), environ, offline=offline).snapshot(policy)
