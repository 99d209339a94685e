"""The differences between two sets of policies: their settings, and the verdicts about each endpoint."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from gateway.core.catalog import Endpoint
from gateway.core.decision import granted
from gateway.core.policy import Policy

ALLOW: Final = "allow"
WOULD_DENY: Final = "would_deny"
NO_POLICY: Final = "no_policy"

# What reaches Productlane.
LET_THROUGH: Final = frozenset({ALLOW, WOULD_DENY})


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a policy that changed: what was removed and what was added, in order.

    A single value that changed is one of each.
    """

    name: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """An endpoint for which a caller's policy gives another verdict than before.

    ``before`` and ``after`` are ``allow``, ``would_deny`` (audit lets it through), a refusal's code, or ``no_policy``.
    """

    caller: str
    endpoint: Endpoint
    before: str
    after: str

    @property
    def lost(self) -> bool:
        """Whether requests were let through and are now refused."""
        return self.before in LET_THROUGH and self.after not in LET_THROUGH

    @property
    def gained(self) -> bool:
        """Whether requests were refused and are now let through."""
        return self.before not in LET_THROUGH and self.after in LET_THROUGH


@dataclass(frozen=True, slots=True)
class Difference:
    """One caller whose policy changed; ``before`` or ``after`` is None without a policy."""

    caller: str
    before: Policy | None
    after: Policy | None
    settings: tuple[Setting, ...]
    verdicts: tuple[VerdictChange, ...]


def compare(
    old: Mapping[str, Policy], new: Mapping[str, Policy], endpoints: Iterable[Endpoint], today: date
) -> tuple[Difference, ...]:
    """Every caller whose policy differs, by name. ``today`` (UTC) is the day on which requests are judged."""
    endpoints = sorted(endpoints, key=lambda endpoint: (endpoint.template, endpoint.method))
    return tuple(
        Difference(
            caller,
            old.get(caller),
            new.get(caller),
            _settings(old.get(caller), new.get(caller)),
            tuple(_verdict_changes(caller, old.get(caller), new.get(caller), endpoints, today)),
        )
        for caller in sorted({*old, *new})
        if old.get(caller) != new.get(caller)
    )


def verdict(policy: Policy | None, endpoint: Endpoint, today: date) -> str:
    """The verdict of a policy about an endpoint on a day (UTC), in the words of `VerdictChange`."""
    if policy is None:
        return NO_POLICY
    rule = granted(policy, endpoint, today)
    return rule.code.value if rule.code is not None else WOULD_DENY if rule.would_deny else ALLOW


def set_difference(name: str, before: Iterable[str], after: Iterable[str]) -> Setting | None:
    """How a set of names changed; None where it did not."""
    old, new = set(before), set(after)
    return None if old == new else Setting(name, tuple(sorted(old - new)), tuple(sorted(new - old)))


def _verdict_changes(
    caller: str, old: Policy | None, new: Policy | None, endpoints: Iterable[Endpoint], today: date
) -> Iterable[VerdictChange]:
    for endpoint in endpoints:
        change = VerdictChange(caller, endpoint, verdict(old, endpoint, today), verdict(new, endpoint, today))
        # A caller without a policy is always refused, so "no policy" and "refused" are the same verdict.
        if change.before != change.after and (
            NO_POLICY not in (change.before, change.after) or change.lost or change.gained
        ):
            yield change


_SETS: Final[Mapping[str, Callable[[Policy], Iterable[str]]]] = {
    "scopes": lambda policy: policy.scopes,
    "endpoints": lambda policy: (endpoint.name for endpoint in policy.endpoints),
    "deny": lambda policy: (endpoint.name for endpoint in policy.deny),
}
_VALUES: Final[Mapping[str, Callable[[Policy], object]]] = {
    "mode": lambda policy: "audit" if policy.audit else "enforce",
    "expires": lambda policy: policy.expires,
    "limits.reads_per_minute": lambda policy: policy.reads,
    "limits.writes_per_minute": lambda policy: policy.writes,
    "weight": lambda policy: policy.weight,
}


def _settings(old: Policy | None, new: Policy | None) -> tuple[Setting, ...]:
    """The settings that differ. Without a policy there are no scopes and no values."""
    found = []
    for name, names in _SETS.items():
        found.append(set_difference(name, names(old) if old else (), names(new) if new else ()))
    for name, value in _VALUES.items():
        found.append(set_difference(name, _one(value, old), _one(value, new)))
    return tuple(setting for setting in found if setting is not None)


def _one(value: Callable[[Policy], object], policy: Policy | None) -> tuple[str, ...]:
    found = None if policy is None else value(policy)
    return () if found is None else (str(found),)
