"""The kinds of credential: a new one is a module of this room and a row here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.callers import anonymous, kubernetes, oidc, spiffe, tokens, unix_users
from gateway.callers.kind import CredentialKind, SettingOf
from gateway.config.reading.section import Section, setting

# The order in which a request is verified: the first kind that identifies a caller decides. Anonymous is the last.
KINDS: Final[Mapping[str, CredentialKind]] = {
    kind.name: kind for kind in (spiffe.KIND, tokens.KIND, kubernetes.KIND, oidc.KIND, unix_users.KIND, anonymous.KIND)
}


def _section(name: str, meaning: str, settings: Mapping[str, Any]) -> type[Section]:
    return type(name, (Section,), {"__doc__": meaning, **settings})


# The section `authenticate` of a policy.
Authenticate: Final = _section(
    "Authenticate",
    "How this caller is identified. One of these is enough.",
    {
        kind.name: setting(kind.value, kind.description, default=False if kind is anonymous.KIND else ())
        for kind in KINDS.values()
    },
)


def settings() -> Iterator[tuple[str, SettingOf]]:
    """The keys below ``callers`` in ``gateway.yaml``, each with the name of the kind that needs it."""
    return ((kind.name, kind.setting) for kind in KINDS.values() if kind.setting is not None)


# The section `callers` of ``gateway.yaml``.
CallersSection: Final = _section(
    "Callers",
    "What verifies callers, beyond the tokens in policies.",
    {one.name: setting(one.value, one.description, default=None) for _, one in settings()},
)
