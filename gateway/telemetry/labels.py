"""The closed lists that label values come from, beside the names in the config.

Written out here because telemetry knows nothing of the core; a test compares them with what the core can say.
"""

from http import HTTPStatus
from typing import Final

OTHER: Final = "other"

# Where a label has nothing to say. An empty value would be the same as no label at all.
NONE: Final = "-"

# Productlane's page on errors; the gateway's own answers use the same words where they mean the same.
PRODUCTLANE_CODES: Final = frozenset(
    {
        "validation_failed",
        "unauthenticated",
        "scope_required",
        "forbidden",
        "not_found",
        "conflict",
        "unsupported_key_version",
        "unprocessable",
        "rate_limited",
        "internal_error",
    }
)

CODES: Final = PRODUCTLANE_CODES | {
    "circuit_open",
    "draining",
    "expectation_failed",
    "headers_too_large",
    "invalid_request",
    "loop_detected",
    "method_not_allowed",
    "overloaded",
    "payload_too_large",
    "request_timeout",
    "unsupported_api_version",
    "upstream_broken",
    "upstream_key_rejected",
    "upstream_key_unsupported",
    "upstream_timeout",
    "upstream_unreachable",
    "uri_too_long",
    "version_not_supported",
}

REASONS: Final = frozenset(
    {
        "any_key",
        "api_version",
        "body",
        "budget",
        "credential_ambiguous",
        "credential_expired",
        "credential_missing",
        "credential_unknown",
        "denied",
        "drain",
        "endpoint_named",
        "endpoint_unknown",
        "expired",
        "fault",
        "framing",
        "guarded",
        "headers",
        "key_refused",
        "key_version",
        "limit",
        "load",
        "loop",
        "method",
        "no_route",
        "scope_held",
        "scope_not_granted",
        "scope_on_no_key",
        "target",
        "time",
        "upstream",
    }
)


def listed_code(code: str) -> str:
    """A code as it may be told: one that is on no list may be any text of an upstream's. Empty stays empty."""
    return code if code in CODES or not code else OTHER


LANES: Final = ("read", "write", "upload")
SOURCES: Final = frozenset({"gateway", "upstream"})
DECISIONS: Final = frozenset({"allow", "deny", "would_deny"})
LOOKUPS: Final = frozenset({"hit", "miss", "stale", "refused", "error"})
STORE_USES: Final = ("read", "write")
KEY_VERSIONS: Final = frozenset({"v1", "v2"})
KEY_STATES: Final = ("unverified", "active", "standby", "rejected", "unsupported", "wrong_workspace", "missing")

# Why a request was sent upstream again: the connection could not be made, or a kept one closed before a byte of answer,
# or its key was refused and has another secret.
RETRIES: Final = frozenset({"connect", "closed", "key"})

# Why Productlane gave no answer: the error types of RFC 9209 section 2.3 that `Proxy-Status` names then.
FAILURES: Final = frozenset(
    {
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_write_timeout",
        "destination_unavailable",
        "dns_error",
        "dns_timeout",
        "http_protocol_error",
        "http_response_timeout",
        "tls_certificate_error",
        "tls_protocol_error",
    }
)
NAME_USES: Final = frozenset({"upstream", "issuer"})
LOOKUP_RESULTS: Final = frozenset({"ok", "error", "timeout"})

# An upstream may send any three digits; those that IANA lists are told apart. 499 is nginx's for a caller that left.
STATUSES: Final = {status: str(status) for status in (*map(int, HTTPStatus), 499) if status >= 200}
