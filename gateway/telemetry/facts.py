"""What is known of the keys at one moment, for metrics and the status page. Previews only, never a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """One secret of a key. ``slot`` is its place from 1, or ``replaced``; ``preview`` its four characters, or empty.

    ``workspace`` and ``api_key_id`` are empty and ``scopes`` is None while its identity is unknown. ``identity_age`` is
    in seconds, ``last_used`` and ``since``, when its value came, are Unix times; None where there is none. ``source``
    is where it is read from and ``last_hour`` counts requests. ``note`` says why it does not serve, ``fault`` what is
    wrong with its file, and ``identity_fault`` why the last question about it taught nothing.
    """

    slot: str
    state: str
    preview: str = ""
    workspace: str = ""
    api_key_id: str = ""
    scopes: frozenset[str] | None = None
    identity_age: float | None = None
    last_used: float | None = None
    source: str = ""
    since: float | None = None
    last_hour: int = 0
    note: str = ""
    fault: str = ""
    identity_fault: str = ""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key: its secrets, and its drift, which is None while its scopes are unknown.

    ``unknown`` are scopes that no endpoint asks for; ``wide`` says that it carries more than any of its callers needs.
    ``advice`` is what would mend all that, in sentences.
    """

    name: str
    slots: tuple[SlotFacts, ...]
    missing: frozenset[str] | None = None
    excess: frozenset[str] | None = None
    unknown: frozenset[str] | None = None
    wide: bool | None = None
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Where answers are kept: ``memory``, ``sqlite`` or ``redis``, and its path or URL, without a password.

    ``faults`` says why it cannot be used now, by ``read`` and ``write``; mostly empty.
    """

    kind: str = "memory"
    place: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)


class BudgetFacts(NamedTuple):
    """The last reading of a key's budget in a lane; ``reset`` is the Unix second at which the count starts anew.

    ``low`` is the lowest reading of its minute and ``low_before`` that of the minute before, None without any.
    """

    limit: int
    remaining: int
    reset: int
    low: int
    low_before: int | None = None

    @classmethod
    def after(cls, before: Self | None, *, limit: int, remaining: int, reset: int) -> Self:
        """What is known after a reading. Readings are of one minute where their resets are."""
        passed = None if before is None else reset // _MINUTE - before.reset // _MINUTE
        if before is not None and passed == 0:
            return cls(limit, remaining, reset, min(remaining, before.low), before.low_before)
        return cls(limit, remaining, reset, remaining, before.low if before is not None and passed == 1 else None)

    def lowest(self, now: float) -> int:
        """The fewest requests left, of the minute that ``now`` (Unix seconds) is in and the one before."""
        if now >= self.reset + _MINUTE:
            return self.limit
        return self.low if now >= self.reset or self.low_before is None else min(self.low, self.low_before)


@dataclass(frozen=True, slots=True)
class ReloadFacts:
    """How the last load of the configuration went.

    ``problems`` are those of a change that could not be used, since a Unix time; ``restart_needed`` are settings that
    the file has changed and the process was started with.
    """

    problems: tuple[str, ...] = ()
    failing_since: float | None = None
    restart_needed: tuple[str, ...] = ()
