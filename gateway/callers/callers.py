"""How the callers of a configuration are identified."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Callers:
    """All credentials by kind, each with the name of its caller; and by kind the setting that it is verified with."""

    by_kind: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def anonymous(self) -> str | None:
        """The caller that requests without a credential are."""
        return self.by_kind.get("anonymous", {}).get(True)

    @property
    def authenticated(self) -> bool:
        """Whether any policy authenticates; then an unknown credential is never taken for anonymous."""
        return any(entries for kind, entries in self.by_kind.items() if kind != "anonymous")

    @property
    def issuers(self) -> tuple[IssuerSettings, ...]:
        """The issuers whose signed tokens are accepted."""
        return tuple(issuer for value in self.settings.values() if isinstance(value, tuple) for issuer in value)

    def of(self, caller: str) -> dict[str, list[Hashable]]:
        """A caller's credentials by kind, without the kinds of which it has none."""
        found = {
            kind: [entry for entry, name in entries.items() if name == caller] for kind, entries in self.by_kind.items()
        }
        return {kind: found[kind] for kind in KINDS if found.get(kind)}
