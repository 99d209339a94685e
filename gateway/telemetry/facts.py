"""What is known of the keys at one moment, for metrics and the status page. Previews only, never a secret."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """One secret of a key. ``slot`` is its place from 1, or ``replaced``; ``preview`` its four characters, or empty.

    ``workspace`` and ``api_key_id`` are empty and ``scopes`` is None while its identity is unknown. ``identity_age`` is
    in seconds, ``last_used`` a Unix time; None where there is none.
    """

    slot: str
    state: str
    preview: str = ""
    workspace: str = ""
    api_key_id: str = ""
    scopes: frozenset[str] | None = None
    identity_age: float | None = None
    last_used: float | None = None


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key: its secrets, and its drift. ``missing`` and ``excess`` are None while its scopes are unknown."""

    name: str
    slots: tuple[SlotFacts, ...]
    missing: frozenset[str] | None = None
    excess: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """The last reading of a key's budget in a lane; ``reset`` is the Unix second at which the count starts anew."""

    limit: int
    remaining: int
    reset: int
