"""The catalog from its file, and the overlays that add endpoints or override them without a release."""

import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.config.reading.document import Document
from gateway.config.reading.problem import ConfigError, Problem, Steps, did_you_mean, shown
from gateway.config.reading.section import read
from gateway.config.reading.source import open_document, parse
from gateway.config.schema import catalog as schema
from gateway.core.catalog import Catalog, Endpoint, Lane, plain

_OWN: Final = "productlane_v2.yaml"


def load_catalog(overlays: Iterable[Path] = ()) -> Catalog:
    """The endpoints of Productlane v2 with the overlays laid over them in order. Raises `ConfigError`."""
    problems: list[Problem] = []
    catalog = read_catalog(overlays, problems)
    if problems:
        raise ConfigError(problems)
    return catalog


def read_catalog(overlays: Iterable[Path], problems: list[Problem]) -> Catalog:
    """As `load_catalog`, but adds what is wrong to ``problems`` and leaves it out of the catalog."""
    merge = _Merge()
    data = pkgutil.get_data("gateway.config", _OWN) or b""
    merge.add(parse(_OWN, data, problems), own=True)
    for overlay in overlays:
        merge.add(open_document(overlay, problems), own=False)
    return Catalog(merge.endpoints.values(), merge.scopes, merge.replacements)


class _Merge:
    """Catalog files laid one over the other. Endpoints are the same where only placeholders differ in name."""

    def __init__(self) -> None:
        self.scopes: Final[dict[str, str]] = {}
        self.endpoints: Final[dict[str, Endpoint]] = {}
        self.replacements: Final[dict[tuple[str, str], str]] = {}

    def add(self, document: Document, *, own: bool) -> None:
        file = read(schema.Catalog, document)
        if file is None:
            return
        self.scopes.update(file.scopes or {})
        self.replacements.update({(v1.method, v1.path): v1.replacement for v1 in file.v1})
        seen: set[str] = set()
        for here, entry in document.items(file.endpoints, "endpoints"):
            endpoint = _endpoint(entry)
            name = plain(endpoint.name)
            if not own:
                self._check(entry, name, name in seen, here, document)
            seen.add(name)
            self.endpoints[name] = endpoint

    def _check(self, entry: schema.Endpoint, name: str, twice: bool, path: Steps, document: Document) -> None:
        if twice:
            document.report(path, f"{shown(f'{entry.method} {entry.path}')} is given twice in this file")
        for here, scope in document.items(entry.scopes, *path, "scopes"):
            if scope not in self.scopes:
                document.report(here, unknown_scope(scope, self.scopes))
        known = self.endpoints.get(name)
        # An override must say so in words before it opens an endpoint whose effect cannot be undone.
        delicate = (known is not None and known.guarded) or (
            entry.path.startswith("/members") and entry.method != "GET"
        )
        if delicate and entry.guarded is None:
            document.report(path, f"{shown(f'{entry.method} {entry.path}')} is guarded; say `guarded: true` or `false`")


def _endpoint(entry: schema.Endpoint) -> Endpoint:
    lane = entry.lane or (Lane.READ if entry.method == "GET" else Lane.WRITE)
    return Endpoint(entry.method, entry.path, frozenset(entry.scopes), lane, entry.guarded is True)


def unknown_scope(scope: str, known: Iterable[str]) -> str:
    """The message for a scope that Productlane does not have."""
    return f"no such scope as {shown(scope)}{did_you_mean(scope, known)}"


def unknown_endpoint(name: str, catalog: Catalog) -> str:
    """The message for an endpoint that is not in the catalog."""
    if name.startswith("HEAD "):
        return f"{shown(name)}: HEAD is judged as GET; write GET"
    near = did_you_mean(plain(name), {plain(endpoint.name) for endpoint in catalog.endpoints})
    for endpoint in catalog.endpoints:
        near = near.replace(f'"{plain(endpoint.name)}"', f'"{endpoint.name}"')
    return f"no such endpoint as {shown(name)}{near}"
