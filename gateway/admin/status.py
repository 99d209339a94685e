"""The status of one process as JSON can carry it; the page shows the same facts."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypedDict

from gateway import __version__
from gateway.core.policy import Policy
from gateway.telemetry.facts import BudgetFacts, KeyFacts, ReloadFacts, SlotFacts, StoreFacts
from gateway.telemetry.usage import Usage, Use


class SlotStatus(TypedDict):
    """One secret of a key. ``identity_age`` is in seconds; what is not known is null.

    ``since`` is when this process first held the value. ``note`` says why it does not serve, beyond the state,
    ``fault`` what is wrong with its file, and ``identity_fault`` why ``/me`` told nothing when it was last asked; what
    is shown, and enforced, is then as old as ``identity_age``.
    """

    slot: str
    state: str
    preview: str | None
    workspace: str | None
    api_key_id: str | None
    scopes: list[str] | None
    identity_age: float | None
    last_used: str | None
    source: str | None
    since: str | None
    requests_last_hour: int
    note: str | None
    fault: str | None
    identity_fault: str | None


class BudgetStatus(TypedDict):
    """Requests a minute and requests left when last told, and when the count starts anew."""

    limit: int
    remaining: int
    reset: str | None


class KeyStatus(TypedDict):
    """One key. Its drift is null while its scopes are not known; budgets are by lane.

    ``missing``, ``excess``, ``unknown`` and ``wide`` are as in `Drift`, and ``advice`` says what would mend them.
    """

    key: str
    slots: list[SlotStatus]
    missing: list[str] | None
    excess: list[str] | None
    unknown: list[str] | None
    wide: bool | None
    advice: list[str]
    budgets: dict[str, BudgetStatus]


class UseStatus(TypedDict):
    """Requests to one endpoint since the start."""

    allowed: int
    denied: int
    would_deny: int
    last: str | None


class CallerStatus(TypedDict):
    """What one caller may do and what it did. ``mode`` is null for ``-`` and ``other``, which have no policy."""

    caller: str
    mode: str | None
    expires: str | None
    scopes: list[str]
    endpoints: list[str]
    deny: list[str]
    used: dict[str, UseStatus]


class StoreStatus(TypedDict):
    """Where answers of ``/me`` are kept, and why it cannot be used now, by ``read`` and ``write``; mostly empty."""

    kind: str
    place: str | None
    faults: dict[str, str]


class ReloadStatus(TypedDict):
    """How the last load of the configuration went. What ``problems`` keep out has been on the disk since that time.

    ``restart_needed`` are settings whose change waits for a restart.
    """

    ok: bool
    problems: list[str]
    failing_since: str | None
    restart_needed: list[str]


class Status(TypedDict):
    """Everything. Times are RFC 3339 in UTC."""

    version: str
    started: str | None
    now: str | None
    config: str
    upstream: str
    listeners: dict[str, str]
    not_ready: list[str]
    reload: ReloadStatus
    store: StoreStatus
    keys: list[KeyStatus]
    callers: list[CallerStatus]


def build(
    *,
    config: str,
    upstream: str,
    listeners: Mapping[str, str],
    not_ready: Iterable[str],
    started: float,
    now: float,
    policies: Mapping[str, Policy],
    keys: Iterable[KeyFacts],
    budgets: Mapping[tuple[str, str], BudgetFacts],
    usage: Usage,
    reload: ReloadFacts,
    store: StoreFacts,
) -> Status:
    """Put the status together. ``config`` says where the config is from; ``started`` and ``now`` are Unix times."""
    unruled = [caller for caller in usage.callers if caller not in policies]
    return {
        "version": __version__,
        "started": moment(started),
        "now": moment(now),
        "config": config,
        "upstream": upstream,
        "listeners": dict(listeners),
        "not_ready": list(not_ready),
        "reload": {
            "ok": not reload.problems,
            "problems": list(reload.problems),
            "failing_since": moment(reload.failing_since),
            "restart_needed": list(reload.restart_needed),
        },
        "store": {"kind": store.kind, "place": store.place or None, "faults": dict(store.faults)},
        "keys": [_key(key, budgets) for key in keys],
        "callers": [_caller(name, policy, usage) for name, policy in sorted(policies.items())]
        + [_caller(name, None, usage) for name in sorted(unruled)],
    }


def moment(unix: float | None) -> str | None:
    """RFC 3339 in UTC to the second; None for none, and for a number that is no date."""
    if unix is None:
        return None
    try:
        return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None


def _key(key: KeyFacts, budgets: Mapping[tuple[str, str], BudgetFacts]) -> KeyStatus:
    return {
        "key": key.name,
        "slots": [_slot(slot) for slot in key.slots],
        "missing": None if key.missing is None else sorted(key.missing),
        "excess": None if key.excess is None else sorted(key.excess),
        "unknown": None if key.unknown is None else sorted(key.unknown),
        "wide": key.wide,
        "advice": list(key.advice),
        "budgets": {
            lane: {"limit": facts.limit, "remaining": facts.remaining, "reset": moment(facts.reset)}
            for (name, lane), facts in sorted(budgets.items())
            if name == key.name
        },
    }


def _slot(slot: SlotFacts) -> SlotStatus:
    return {
        "slot": slot.slot,
        "state": slot.state,
        "preview": slot.preview or None,
        "workspace": slot.workspace or None,
        "api_key_id": slot.api_key_id or None,
        "scopes": None if slot.scopes is None else sorted(slot.scopes),
        "identity_age": None if slot.identity_age is None else round(slot.identity_age, 1),
        "last_used": moment(slot.last_used),
        "source": slot.source or None,
        "since": moment(slot.since),
        "requests_last_hour": slot.last_hour,
        "note": slot.note or None,
        "fault": slot.fault or None,
        "identity_fault": slot.identity_fault or None,
    }


def _caller(name: str, policy: Policy | None, usage: Usage) -> CallerStatus:
    return {
        "caller": name,
        "mode": None if policy is None else "audit" if policy.audit else "enforce",
        "expires": policy.expires.isoformat() if policy and policy.expires else None,
        "scopes": sorted(policy.scopes) if policy else [],
        "endpoints": sorted(endpoint.name for endpoint in policy.endpoints) if policy else [],
        "deny": sorted(endpoint.name for endpoint in policy.deny) if policy else [],
        "used": {endpoint: _use(use) for endpoint, use in sorted(usage.of(name).items())},
    }


def _use(use: Use) -> UseStatus:
    return {"allowed": use.allowed, "denied": use.denied, "would_deny": use.would_deny, "last": moment(use.last)}
