"""The part of the status that is about callers, and the body of ``/status.json``."""

import json
from collections.abc import Mapping

import msgspec

from gateway.core.policy import Policy
from gateway.telemetry.status import CallerStatus, Status, UseStatus, moment
from gateway.telemetry.usage import Usage


def caller_statuses(
    policies: Mapping[str, Policy], usage: Usage, authenticate: Mapping[str, tuple[str, ...]]
) -> tuple[CallerStatus, ...]:
    """Callers with a policy by name, then those seen without one. ``authenticate`` are kinds of credential."""
    ruled = [_caller(name, policy, usage, authenticate.get(name, ())) for name, policy in sorted(policies.items())]
    unruled = sorted(caller for caller in usage.callers if caller not in policies)
    return (*ruled, *(CallerStatus(name, used=_used(name, usage)) for name in unruled))


def encode(status: Status) -> bytes:
    """The body of ``/status.json``."""
    try:
        body = msgspec.json.encode(status)
    except UnicodeEncodeError:
        # A path of bytes outside UTF-8 has lone surrogates in Python, which JSON cannot carry.
        body = json.dumps(msgspec.to_builtins(status), ensure_ascii=False).encode("utf-8", "replace")
    return msgspec.json.format(body, indent=2) + b"\n"


def _caller(name: str, policy: Policy, usage: Usage, authenticate: tuple[str, ...]) -> CallerStatus:
    return CallerStatus(
        name,
        mode="audit" if policy.audit else "enforce",
        expires=policy.expires.isoformat() if policy.expires else None,
        scopes=tuple(sorted(policy.scopes)),
        endpoints=tuple(sorted(endpoint.name for endpoint in policy.endpoints)),
        deny=tuple(sorted(endpoint.name for endpoint in policy.deny)),
        used=_used(name, usage),
        authenticate=authenticate,
    )


def _used(caller: str, usage: Usage) -> dict[str, UseStatus]:
    return {
        endpoint: UseStatus(use.allowed, use.denied, use.would_deny, moment(use.last))
        for endpoint, use in sorted(usage.of(caller).items())
    }
