"""The answer to ``GET /me`` out of what is known of a key's identity."""

import json

from gateway.core.policy import Policy
from gateway.keys.identity import Known
from gateway.proxy.refusing import ID_FIELD, field_lines


def me_answer(known: Known, policy: Policy, ttl: float, request_id: str) -> tuple[bytes, bytes]:
    """The lines of its head and its body; ``known`` has an identity, which is trusted for ``ttl`` seconds."""
    assert known.identity is not None  # noqa: S101 - else the upstream is asked
    left = f"ttl={int(ttl - known.age)}"
    # RFC 9211 section 2: a stale answer is a hit whose ttl is negative.
    outcome = f"fwd=miss; fwd-status=200; stored; {left}" if known.result == "miss" else f"hit; {left}"
    fields = [
        ("Content-Type", "application/json"),
        ("Age", str(int(known.age))),
        ("Cache-Status", f"productlane-gateway; {outcome}"),
        ("X-Request-Id", request_id),
        (ID_FIELD, request_id),
    ]
    return field_lines(fields), json.dumps(known.identity.as_seen_by(policy), separators=(",", ":")).encode()
