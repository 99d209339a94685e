"""Reviews of policies as text and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gateway.cli.policies.observed import Observed
from gateway.cli.policies.review import Grant, Loss, Review, Use
from gateway.cli.table import table
from gateway.core.policy import Policy

_HOW_TO_GRANT: Final = "With --grant-audited, the suggestion grants this as well."


def text(reviews: Iterable[Review], suggested: Mapping[Path, str], seen: Observed, unruled: Iterable[str]) -> str:
    """Everything for people. ``suggested`` are texts of policy files, ``unruled`` callers without a policy here."""
    parts = [f"Seen by {seen.source} since {seen.since}."]
    parts += [_review(one, suggested.get(one.file.file), seen) for one in reviews]
    for caller in unruled:
        parts.append(f"Caller {caller} made requests and has no policy here.")
    parts += [f"{fault}." for fault in seen.faults]
    return "\n\n".join(parts)


def in_short(reviews: Iterable[Review], seen: Observed) -> str:
    """One line for each caller: what it was granted, what of that was used, and what enforcing would refuse."""
    head = ("caller", "mode", "granted", "unused", "would refuse", "last seen")
    return table([head, *(_short(one) for one in reviews)]) + f"\n\nSeen by {seen.source} since {seen.since}."


def _short(one: Review) -> tuple[str, ...]:
    mode = "audit" if one.file.policy.audit else "enforce"
    last = max((use.last for use in one.uses), default="-")
    return one.caller, mode, str(len(one.grants)), str(len(one.unused)), str(len(one.losses)), last


def _review(one: Review, suggested: str | None, seen: Observed) -> str:
    mode = "audit" if one.file.policy.audit else "enforce"
    parts = [f"{one.caller}  ({mode}, {one.file.file})"]
    if one.grants:
        rows = [_grant(grant, seen) for grant in one.grants]
        parts.append(table([("granted", "requests", "last used"), *rows], "  "))
    if one.uses:
        parts.append(table([("asked for", "allow", "would_deny", "deny", "last"), *map(_use, one.uses)], "  "))
    if one.losses:
        hint = one.file.policy.audit and not one.grants_audited
        parts.append("\n".join([_losses_head(one), *map(_loss, one.losses), *([f"  {_HOW_TO_GRANT}"] if hint else [])]))
    if one.suggestion is None:
        parts.append(f"  Nothing was let through for {one.caller}, so there is nothing to go by.")
    if one.unneeded:
        parts.append(_unneeded(one))
    if suggested is not None:
        parts.append(f"  {one.file.file} with what was used and no more:\n\n{suggested.rstrip()}")
    elif one.suggestion is not None:
        parts.append("  Everything that it is granted was used.")
    return "\n\n".join(parts)


def _grant(grant: Grant, seen: Observed) -> tuple[str, str, str]:
    return grant.name, str(grant.seen.count), grant.seen.last or f"never since {seen.since}"


def _use(use: Use) -> tuple[str, str, str, str, str]:
    return use.endpoint, str(use.allowed), str(use.would_deny), str(use.denied), use.last


def _losses_head(one: Review) -> str:
    if one.file.policy.audit:
        return "  Enforcing this policy would refuse:"
    return "  Was let through, and is refused by the policy as it is now:"


def _loss(loss: Loss) -> str:
    times = "once" if loss.seen.count == 1 else f"{loss.seen.count} times"
    return f"  - {loss.endpoint}, asked for {times}, last at {loss.seen.last}\n    {loss.code}: {loss.why}"


def _unneeded(one: Review) -> str:
    count = len(one.unneeded)
    names = ", ".join(one.unneeded[:4]) + (f" and {count - 4} more" if count > 4 else "")
    return f"  Its scopes open as well, and nobody used: {names}. With --exact, single endpoints are named."


def facts(
    reviews: Sequence[Review], suggested: Mapping[Path, str], seen: Observed, unruled: Sequence[str]
) -> dict[str, Any]:
    """Everything as JSON can carry it. ``suggestion`` is null where the policy may stay, or nothing is known."""
    return {
        "source": seen.source,
        "since": seen.since,
        "callers": [_facts(one, suggested.get(one.file.file)) for one in reviews],
        "without_policy": list(unruled),
        "faults": list(seen.faults),
    }


def _facts(one: Review, suggested: str | None) -> dict[str, Any]:
    policy, suggestion = one.file.policy, one.suggestion
    return {
        "caller": one.caller,
        "file": str(one.file.file),
        "mode": "audit" if policy.audit else "enforce",
        "granted": [_granted(grant) for grant in one.grants],
        "used": [asdict(use) for use in one.uses],
        "would_refuse": [_refused(loss) for loss in one.losses],
        "opened_and_unused": list(one.unneeded),
        "suggestion": None if suggestion is None or suggested is None else _suggestion(suggestion, suggested),
    }


def _granted(grant: Grant) -> dict[str, Any]:
    last = grant.seen.last or None
    return {"setting": grant.setting, "name": grant.name, "requests": grant.seen.count, "last_used": last}


def _refused(loss: Loss) -> dict[str, Any]:
    seen = {"requests": loss.seen.count, "last": loss.seen.last}
    return {"endpoint": loss.endpoint, "code": loss.code, "why": loss.why, **seen}


def _suggestion(policy: Policy, text: str) -> dict[str, Any]:
    return {
        "scopes": sorted(policy.scopes),
        "endpoints": sorted(endpoint.name for endpoint in policy.endpoints),
        "deny": sorted(endpoint.name for endpoint in policy.deny),
        "yaml": text,
    }
