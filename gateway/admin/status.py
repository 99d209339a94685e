"""Puts the status of this process together, and encodes it for ``/status.json``."""

import json
from collections.abc import Iterable, Mapping

import msgspec

from gateway import __version__
from gateway.core.policy import Policy
from gateway.telemetry.status import (
    CallerStatus,
    IssuerStatus,
    KeyStatus,
    ReloadStatus,
    Status,
    StoreStatus,
    UseStatus,
    moment,
)
from gateway.telemetry.usage import Usage


def build(
    *,
    config: str,
    upstream: str,
    listeners: Mapping[str, str],
    not_ready: Iterable[str],
    started: float,
    now: float,
    policies: Mapping[str, Policy],
    keys: Iterable[KeyStatus],
    usage: Usage,
    reload: ReloadStatus,
    store: StoreStatus,
    issuers: Iterable[IssuerStatus] = (),
    authenticate: Mapping[str, tuple[str, ...]] | None = None,
    instance: str = "",
) -> Status:
    """The whole status. ``config`` says where the config is from; ``started`` and ``now`` are Unix times.

    ``authenticate`` are the kinds of credential of each caller.
    """
    unruled = sorted(caller for caller in usage.callers if caller not in policies)
    ruled = (
        _caller(name, policy, usage, (authenticate or {}).get(name, ())) for name, policy in sorted(policies.items())
    )
    return Status(
        version=__version__,
        started=moment(started),
        now=moment(now),
        config=config,
        upstream=upstream,
        listeners=dict(listeners),
        not_ready=tuple(not_ready),
        reload=reload,
        store=store,
        keys=tuple(keys),
        callers=(*ruled, *(CallerStatus(name, used=_used(name, usage)) for name in unruled)),
        instance=instance,
        issuers=tuple(issuers),
    )


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
