"""Loads files, environment and flags into one `Snapshot`."""

from collections.abc import Mapping
from pathlib import Path

from gateway.config.assembly.assembly import Assembly
from gateway.config.assembly.policies import PolicyCache
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.reading.problem import ConfigError, Problem
from gateway.config.reading.source import open_document
from gateway.config.schema import environment


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    offline: bool = False,
    cache: PolicyCache | None = None,
) -> Snapshot:
    """The checked configuration of ``gateway.yaml``; without a path, of ``PRODUCTLANE_GATEWAY_CONFIG`` or of a sidecar.

    ``flags`` are single settings by dotted path, as ``{"upstream.url": …}``. Relative paths in a file are relative to
    its folder, those in flags and variables to the working directory. ``offline`` reads policies and catalog files
    alone: no secret, certificate or key set has to be there, and the snapshot holds no secret. ``cache`` spares a later
    load the policies that have not changed since; whatever is checked is checked all the same.

    Raises `ConfigError` with every problem there is.
    """
    problems: list[Problem] = []
    if path is None and environ.get(environment.CONFIG):
        path = Path(environ[environment.CONFIG])
    if path is not None:
        snapshot = _from_file(path, environ, flags or {}, problems, offline, cache)
    elif environment.KEY in environ or environment.SCOPES in environ:
        snapshot = _from_environment(environ, flags or {}, problems, offline)
    else:
        environment.check_variables(environ, None, problems)
        raise ConfigError([*problems, Problem(environment.ENVIRONMENT, 0, "", environment.NOTHING)])
    if problems or snapshot is None:
        raise ConfigError(_in_order(problems))
    return snapshot


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By file, in the order of reading, and by line: the order in which a person mends them."""
    files = {problem.file: place for place, problem in reversed([*enumerate(problems)])}
    return sorted(problems, key=lambda problem: (files[problem.file], problem.line))


def _from_file(
    path: Path,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    problems: list[Problem],
    offline: bool,
    cache: PolicyCache | None,
) -> Snapshot | None:
    if environment.SCOPES in environ:
        message = f"is for a sidecar without files, and {path} is in use; put the scopes into a policy"
        problems.append(Problem(environment.ENVIRONMENT, 0, environment.SCOPES, message))
    document = environment.overlaid(open_document(path, problems), environ, flags)
    if document.root is None:
        return None
    environment.check_variables(environ, document.root, problems)
    return Assembly(document, environ, offline=offline, cache=cache).snapshot(None)


def _from_environment(
    environ: Mapping[str, str], flags: Mapping[str, str], problems: list[Problem], offline: bool
) -> Snapshot:
    environment.check_variables(environ, None, problems)
    document, policy = environment.sidecar(environ, problems)
    return Assembly(environment.overlaid(document, environ, flags), environ, offline=offline).snapshot(policy)
