"""Refusals: closed lists of codes and reasons, with one row each."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.limits import Limit
from gateway.core.row_enum import RowEnum

# This gateway's name to its peers, in `Proxy-Status` and `Via`: a token (RFC 9110 section 5.6.2).
PSEUDONYM: Final = "productlane-gateway"


class Code(RowEnum):
    """``error.code`` of every answer that the gateway gives itself.

    Each with its status, the error type of RFC 9209 section 2.3, and when it is given, for the docs.
    """

    def __init__(self, _: str, status: int, proxy_error: str, when: str) -> None:
        self.status: Final = status
        self.proxy_error: Final = proxy_error
        self.when: Final = when

    # fmt: off
    INVALID_REQUEST = (
        "invalid_request", 400, "http_request_error",
        "A target that two servers could read differently, or broken framing."
    )
    UNAUTHENTICATED = "unauthenticated", 401, "http_request_denied", "The caller is unknown (`WWW-Authenticate`)."
    SCOPE_REQUIRED = (
        "scope_required", 403, "http_request_denied",
        "A scope is missing in the policy, or on every key of the route (`details.required`, `.granted`)."
    )
    FORBIDDEN = (
        "forbidden", 403, "http_request_denied",
        "The endpoint is denied or guarded, the grant has expired, or no route leads there."
    )
    NOT_FOUND = "not_found", 404, "http_request_denied", "No such endpoint is in the catalog."
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "http_request_denied", "The endpoint takes other methods (`Allow`)."
    REQUEST_TIMEOUT = "request_timeout", 408, "http_request_error", "The head or the body stopped arriving."
    UNSUPPORTED_KEY_VERSION = "unsupported_key_version", 410, "http_request_denied", "The caller sent a v1 key."
    UNSUPPORTED_API_VERSION = (
        "unsupported_api_version", 410, "http_request_denied",
        "The path is one of v1; the answer says what replaces it."
    )
    PAYLOAD_TOO_LARGE = "payload_too_large", 413, "http_request_error", "The body is over `limits.body`."
    URI_TOO_LONG = "uri_too_long", 414, "http_request_error", "The target is too long."
    EXPECTATION_FAILED = (
        "expectation_failed", 417, "http_request_error", "The request expects something else than `100-continue`."
    )
    RATE_LIMITED = (
        "rate_limited", 429, "http_request_denied",
        "The cap of the caller is spent, or no budget came within `pacing.max_wait` (`Retry-After`)."
    )
    HEADERS_TOO_LARGE = "headers_too_large", 431, "http_request_error", "The header fields are too large or too many."
    INTERNAL_ERROR = "internal_error", 500, "proxy_internal_error", "The gateway has a fault."
    UPSTREAM_UNREACHABLE = "upstream_unreachable", 502, "destination_unavailable", "Productlane could not be reached."
    UPSTREAM_BROKEN = "upstream_broken", 502, "http_protocol_error", "Productlane broke off, or its answer is not HTTP."
    UPSTREAM_KEY_REJECTED = (
        "upstream_key_rejected", 502, "proxy_configuration_error",
        "Productlane does not accept the key; the caller cannot mend this."
    )
    UPSTREAM_KEY_UNSUPPORTED = (
        "upstream_key_unsupported", 502, "proxy_configuration_error",
        "The key is one of v1; the caller cannot mend this."
    )
    OVERLOADED = "overloaded", 503, "connection_limit_reached", "The gateway is full (`Retry-After`)."
    DRAINING = "draining", 503, "proxy_internal_response", "The gateway shuts down (`Retry-After`)."
    CIRCUIT_OPEN = (
        "circuit_open", 503, "destination_unavailable",
        "Ten requests in a row had no answer of Productlane (`Retry-After`)."
    )
    ISSUER_UNAVAILABLE = (
        "issuer_unavailable", 503, "proxy_internal_error",
        "The keys that verify this token cannot be fetched now (`Retry-After`)."
    )
    UPSTREAM_TIMEOUT = "upstream_timeout", 504, "connection_read_timeout", "Productlane did not answer in time."
    VERSION_NOT_SUPPORTED = "version_not_supported", 505, "http_request_error", "The request is not HTTP/1.1."
    LOOP_DETECTED = "loop_detected", 508, "proxy_loop_detected", "The upstream leads back to this gateway."
    # fmt: on


class Reason(RowEnum):
    """Why a request was allowed or refused, finer than its code: the ``reason`` of log lines and metrics.

    Those that refuse say where a refusal comes from, as a setting or a part, and an imperative clause for what would
    change it; both are for refusals that know no better.
    """

    def __init__(self, _: str, decided_by: str = "", fix: str = "") -> None:
        self.decided_by: Final = decided_by
        self.fix: Final = fix

    # fmt: off
    SCOPE_HELD = "scope_held"
    ENDPOINT_NAMED = "endpoint_named"
    ANY_KEY = "any_key"

    TARGET = "target", "the request", "send the path as the documentation of the API writes it"
    FRAMING = "framing", "the request", "send one well-formed HTTP/1.1 request, as HTTP libraries do"
    HEADERS = "headers", "the request", "correct its header fields"
    LOOP = "loop", "upstream.url", "correct `upstream.url`"
    CREDENTIAL_MISSING = (
        "credential_missing", "authentication", "send `Authorization: Bearer <token>` with this caller's token"
    )
    CREDENTIAL_UNKNOWN = (
        "credential_unknown", "authentication", "list this credential under `authenticate` in the caller's policy"
    )
    CREDENTIAL_EXPIRED = "credential_expired", "authentication", "send a credential that is still valid"
    CREDENTIAL_AMBIGUOUS = "credential_ambiguous", "authentication", "send one Authorization field"
    ISSUER = "issuer", "the issuer of the token", "send it again soon"
    KEY_VERSION = "key_version", "authentication", "send this caller's own token, not a key of Productlane"
    API_VERSION = "api_version", "the catalog", "use an endpoint of v2"
    ENDPOINT_UNKNOWN = "endpoint_unknown", "the catalog", "correct the path"
    METHOD = "method", "the catalog", "use a method that the path has"
    EXPIRED = "expired", "the caller's policy", "renew the grant"
    CROSS_SITE = "cross_site", "the anonymous policy", "let the caller authenticate"
    DENIED = "denied", "the caller's policy", "change the policy"
    GUARDED = "guarded", "the catalog", "name the endpoint in the policy"
    SCOPE_NOT_GRANTED = "scope_not_granted", "the caller's policy", "add the scope to the policy"
    NO_ROUTE = "no_route", "routes", "add a route"
    SCOPE_ON_NO_KEY = "scope_on_no_key", "routes", "widen a key in Productlane"
    KEY_REFUSED = "key_refused", "keys", "replace the key"
    LIMIT = "limit", "the caller's policy, limits", "send less, or raise the limit in the policy"
    BUDGET = "budget", "the rate budget of the key", "send it again after `Retry-After`"
    BODY = "body", "limits.body", "send a smaller body"
    TIME = "time", "the time-outs of the gateway", "send the whole request without pauses"
    DRAIN = "drain", "the gateway", "send it again"
    LOAD = "load", "the limits of the gateway", "send it again after `Retry-After`"
    UPSTREAM = "upstream", "Productlane", "send it again later"
    FAULT = "fault", "the gateway", "report it with the id of the request"
    # fmt: on


class Refused(Exception):
    """The gateway answers this request itself.

    ``message`` is the sentence for the caller. ``note`` is the cause as the operator sees it, the message where there
    is none, with ``fix``, an imperative clause for what would change it; it goes into ``Proxy-Status``, the log and the
    envelope. ``decided_by`` names the setting or the part that refused. Both default to those of the reason.
    ``details`` is the envelope's, where the code has one. ``headers`` are further response headers, such as
    ``Allow``. ``proxy_error`` is the error type of RFC 9209 where it is finer than the code's own. ``limit`` is the
    bound that was reached, if one was. None of them may hold a secret or a query.
    """

    def __init__(
        self,
        code: Code,
        reason: Reason,
        message: str,
        *,
        note: str = "",
        fix: str = "",
        decided_by: str = "",
        details: Mapping[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        proxy_error: str = "",
        limit: Limit | None = None,
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.reason: Final = reason
        self.message: Final = message
        self.fix: Final = fix or reason.fix
        self.note: Final = f"{note or message.removesuffix('.')}; {self.fix}"
        self.decided_by: Final = decided_by or reason.decided_by
        self.details: Final = details
        self.headers = headers
        self.proxy_error: Final = proxy_error or code.proxy_error
        self.limit: Final = limit

    @property
    def status(self) -> int:
        return self.code.status
