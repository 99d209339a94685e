"""How the callers of a configuration are identified."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import msgspec

from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.kinds import KINDS


class Callers(msgspec.Struct, frozen=True):
    """All credentials by kind, each with the name of its caller; and by kind the setting that it is verified with."""

    by_kind: Mapping[str, Mapping[Any, str]] = msgspec.field(default_factory=dict)
    settings: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def anonymous(self) -> str | None:
        """The caller of requests without a credential."""
        return self.by_kind.get("anonymous", {}).get(True)

    @property
    def authenticated(self) -> bool:
        """Whether any policy authenticates. If so, a request with an unknown credential is never anonymous."""
        return any(entries for kind, entries in self.by_kind.items() if kind != "anonymous")

    @property
    def issuers(self) -> tuple[IssuerSettings, ...]:
        """The issuers whose signed tokens are accepted."""
        return tuple(issuer for value in self.settings.values() if isinstance(value, tuple) for issuer in value)

    def of(self, caller: str) -> dict[str, list[str]]:
        """The credentials of a caller by kind, each in brief, for people."""
        found = {
            name: [kind.brief(entry) for entry, one in self.by_kind.get(name, {}).items() if one == caller]
            for name, kind in KINDS.items()
        }
        return {name: entries for name, entries in found.items() if entries}

    def overlaps(self) -> Iterator[tuple[str, str, str]]:
        """Pairs of callers that one credential could identify, so that it is refused: their names, and how they meet.

        A pair is named once, in the order of the names.
        """
        met = set()
        for name, kind in KINDS.items():
            if kind.overlap is None:
                continue
            brief, entries = kind.brief, self.by_kind.get(name, {}).items()
            ordered = sorted(entries, key=lambda item: (item[1], brief(item[0])))
            for (entry, caller), (other, another) in combinations(ordered, 2):
                if caller != another and (caller, another) not in met and kind.overlap(entry, other):
                    met.add((caller, another))
                    yield caller, another, f"{kind.brief(entry)} and {kind.brief(other)}"

    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The kinds of credential of each caller, by the caller's name."""
        found: dict[str, dict[str, None]] = {}
        for name in KINDS:
            for caller in self.by_kind.get(name, {}).values():
                found.setdefault(caller, {})[name] = None
        return {caller: tuple(names) for caller, names in found.items()}
