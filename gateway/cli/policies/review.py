"""One policy held against what its caller was seen to use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from gateway.config.assembly.policies import PolicyFile
from gateway.core.catalog import Catalog, Endpoint
from gateway.core.comparison import ALLOW, WOULD_DENY
from gateway.core.decision import ruling
from gateway.core.narrowing import narrowed, opened_beyond
from gateway.core.policy import Policy
from gateway.core.rule import Ask
from gateway.telemetry.access_log import Seen


@dataclass(frozen=True, slots=True)
class Grant:
    """A scope or an endpoint that the policy grants, and the requests that needed it."""

    setting: str
    name: str
    seen: Seen


@dataclass(frozen=True, slots=True)
class Use:
    """Requests to an endpoint by what was decided about them; ``last`` is the time of the last."""

    endpoint: str
    allowed: int
    would_deny: int
    denied: int
    last: str


@dataclass(frozen=True, slots=True)
class Loss:
    """An endpoint that was let through and that the policy refuses once it is enforced, and its requests."""

    endpoint: str
    code: str
    why: str
    seen: Seen


@dataclass(frozen=True, slots=True)
class Review:
    """A policy, what was used of it, and ``suggestion``, what it could be cut to; None where nothing was seen of it.

    ``unneeded`` are endpoints that the suggestion's scopes open beside what was used; ``grants_audited`` says whether
    it grants what audit alone let through.
    """

    file: PolicyFile
    grants: tuple[Grant, ...]
    uses: tuple[Use, ...]
    losses: tuple[Loss, ...]
    suggestion: Policy | None
    unneeded: tuple[str, ...]
    grants_audited: bool

    @property
    def caller(self) -> str:
        return self.file.policy.caller

    @property
    def unused(self) -> tuple[Grant, ...]:
        """What the policy grants and nobody needed."""
        return tuple(grant for grant in self.grants if not grant.seen.count)

    @property
    def changed(self) -> bool:
        """Whether the suggestion is another policy."""
        return self.suggestion is not None and self.suggestion != self.file.policy


def review(
    file: PolicyFile,
    asked: Mapping[str, Mapping[str, Seen]],
    catalog: Catalog,
    today: date,
    *,
    grant_audited: bool = False,
    exact: bool = False,
) -> Review:
    """Hold a policy against what its caller asked for, by endpoint name and decision. ``today`` is in UTC."""
    policy = file.policy
    let_through = _seen(asked, (ALLOW, WOULD_DENY), catalog)
    # The date is left out: a grant that has ended was used, and its owner wants to know what to renew.
    enforced = policy._replace(audit=False, expires=None)
    losses = {
        endpoint: rule.refusal(asked_now)
        for endpoint in let_through
        if not (rule := ruling(asked_now := Ask(enforced, endpoint, today))).allows
    }
    used = [endpoint for endpoint in let_through if endpoint not in losses]
    audited = [*_seen(asked, (WOULD_DENY,), catalog)] if grant_audited else []
    suggestion = narrowed(policy, used, audited=audited, exact=exact) if let_through else None
    beyond = opened_beyond(suggestion, [*used, *audited], catalog.endpoints) if suggestion else ()
    return Review(
        file,
        tuple(_grants(policy, {endpoint: let_through[endpoint] for endpoint in used})),
        tuple(_use(name, decisions) for name, decisions in sorted(asked.items())),
        tuple(
            Loss(endpoint.name, refused.code.value, refused.note, let_through[endpoint])
            for endpoint, refused in losses.items()
        ),
        suggestion,
        tuple(sorted(endpoint.name for endpoint in beyond)),
        grant_audited,
    )


def _seen(asked: Mapping[str, Mapping[str, Seen]], decisions: Iterable[str], catalog: Catalog) -> dict[Endpoint, Seen]:
    """The endpoints, in order of name, about which one of these was decided, with those requests."""
    found: dict[Endpoint, Seen] = {}
    for name, by_decision in sorted(asked.items()):
        endpoint = catalog.named(name)
        for decision in decisions:
            if endpoint is not None and (seen := by_decision.get(decision)) is not None:
                found.setdefault(endpoint, Seen()).add(seen.count, seen.first, seen.last)
    return found


def _grants(policy: Policy, used: Mapping[Endpoint, Seen]) -> Iterable[Grant]:
    """Scopes and named endpoints, in order. What an endpoint that is named singly needs, no scope was needed for."""
    for scope in sorted(policy.scopes):
        needing = (
            seen for endpoint, seen in used.items() if endpoint not in policy.endpoints and scope in endpoint.scopes
        )
        yield Grant("scopes", scope, _together(needing))
    for endpoint in sorted(policy.endpoints, key=lambda endpoint: endpoint.name):
        yield Grant("endpoints", endpoint.name, used.get(endpoint, Seen()))


def _together(parts: Iterable[Seen]) -> Seen:
    whole = Seen()
    for part in parts:
        whole.add(part.count, part.first, part.last)
    return whole


def _use(name: str, decisions: Mapping[str, Seen]) -> Use:
    allowed, would_deny, denied = (decisions.get(decision, Seen()).count for decision in (ALLOW, WOULD_DENY, "deny"))
    return Use(name, allowed, would_deny, denied, max(seen.last for seen in decisions.values()))
