"""The closed lists that label values come from, beside the names in the config."""

from http import HTTPStatus
from typing import Final

from gateway.core.catalog import Lane
from gateway.core.key_faults import KEY_STATES as KEY_STATES
from gateway.core.limits import Limit
from gateway.core.network_faults import NetworkFault
from gateway.core.refusal import Code, Reason

OTHER: Final = "other"

# Where a label has nothing to say. An empty value would be the same as no label at all.
NONE: Final = "-"

# Those of Productlane's page on errors that the gateway does not use for answers of its own.
_PRODUCTLANE_CODES: Final = frozenset({"validation_failed", "conflict", "unprocessable"})
CODES: Final = frozenset(map(str, Code)) | _PRODUCTLANE_CODES
REASONS: Final = frozenset(map(str, Reason))


def listed_code(code: str) -> str:
    """The code, or ``other`` for an unlisted one, which may be any text from an upstream. Empty stays empty."""
    return code if code in CODES or not code else OTHER


LANES: Final = tuple(lane.value for lane in Lane)
SOURCES: Final = frozenset({"gateway", "upstream"})
DECISIONS: Final = frozenset({"allow", "deny", "would_deny"})
LOOKUPS: Final = frozenset({"hit", "miss", "stale", "refused", "error"})
STORE_USES: Final = ("read", "write")
KEY_VERSIONS: Final = frozenset({"v1", "v2"})

# Why a request was sent upstream again: the connection could not be made, or a kept one closed before a byte of answer,
# its key was refused and has another secret, or it is a read that got 429 and could wait for its Retry-After.
RETRIES: Final = frozenset({"connect", "closed", "key", "rate_limited"})

# Why Productlane gave no answer.
FAILURES: Final = frozenset(fault.value for fault in NetworkFault)
NAME_USES: Final = frozenset({"upstream", "issuer"})
LOOKUP_RESULTS: Final = frozenset({"ok", "error", "timeout"})

LIMITS: Final = frozenset(map(str, Limit))
# Why a caller's TLS handshake failed. `unknown_ca`, `expired` and `certificate` are about the caller's certificate,
# `not_accepted` is the caller's verdict on that of the listener.
HANDSHAKE_FAILURES: Final = frozenset(
    {"unknown_ca", "expired", "certificate", "not_accepted", "protocol", "timeout", "closed", "overloaded", OTHER}
)

# An upstream may send any three digits. Only statuses that IANA lists get their own label, and 499: nginx uses it for a
# caller that left.
STATUSES: Final = {status: str(status) for status in (*map(int, HTTPStatus), 499) if status >= 200}
