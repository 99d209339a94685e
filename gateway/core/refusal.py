"""Refusals: a closed list of codes with one row each, and the envelope that answers them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from gateway.core.limits import Limit

# This gateway's name to its peers, in `Proxy-Status` and `Via`: a token (RFC 9110 section 5.6.2).
PSEUDONYM: Final = "productlane-gateway"


class Code(StrEnum):
    """``error.code`` of every answer that the gateway gives itself."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    SCOPE_REQUIRED = "scope_required"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    UNSUPPORTED_KEY_VERSION = "unsupported_key_version"
    UNSUPPORTED_API_VERSION = "unsupported_api_version"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    URI_TOO_LONG = "uri_too_long"
    EXPECTATION_FAILED = "expectation_failed"
    RATE_LIMITED = "rate_limited"
    HEADERS_TOO_LARGE = "headers_too_large"
    INTERNAL_ERROR = "internal_error"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_BROKEN = "upstream_broken"
    UPSTREAM_KEY_REJECTED = "upstream_key_rejected"
    UPSTREAM_KEY_UNSUPPORTED = "upstream_key_unsupported"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    CIRCUIT_OPEN = "circuit_open"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    VERSION_NOT_SUPPORTED = "version_not_supported"
    LOOP_DETECTED = "loop_detected"


class Answer(NamedTuple):
    """What a code means: the status, the error type of RFC 9209 section 2.3, and when it is given, for the docs."""

    status: int
    proxy_error: str
    when: str


ANSWERS: Final[Mapping[Code, Answer]] = {
    Code.INVALID_REQUEST: Answer(
        400, "http_request_error", "A target that two servers could read differently, or broken framing."
    ),
    Code.UNAUTHENTICATED: Answer(401, "http_request_denied", "The caller is unknown (`WWW-Authenticate`)."),
    Code.SCOPE_REQUIRED: Answer(
        403,
        "http_request_denied",
        "A scope is missing in the policy, or on every key of the route (`details.required`, `.granted`).",
    ),
    Code.FORBIDDEN: Answer(
        403, "http_request_denied", "The endpoint is denied or guarded, the grant has expired, or no route leads there."
    ),
    Code.NOT_FOUND: Answer(404, "http_request_denied", "No such endpoint is in the catalog."),
    Code.METHOD_NOT_ALLOWED: Answer(405, "http_request_denied", "The endpoint takes other methods (`Allow`)."),
    Code.REQUEST_TIMEOUT: Answer(408, "http_request_error", "The head or the body stopped arriving."),
    Code.UNSUPPORTED_KEY_VERSION: Answer(410, "http_request_denied", "The caller sent a v1 key."),
    Code.UNSUPPORTED_API_VERSION: Answer(
        410, "http_request_denied", "The path is one of v1; the answer says what replaces it."
    ),
    Code.PAYLOAD_TOO_LARGE: Answer(413, "http_request_error", "The body is over `limits.body`."),
    Code.URI_TOO_LONG: Answer(414, "http_request_error", "The target is too long."),
    Code.EXPECTATION_FAILED: Answer(
        417, "http_request_error", "The request expects something else than `100-continue`."
    ),
    Code.RATE_LIMITED: Answer(
        429,
        "http_request_denied",
        "The cap of the caller is spent, or no budget came within `pacing.max_wait` (`Retry-After`).",
    ),
    Code.HEADERS_TOO_LARGE: Answer(431, "http_request_error", "The header fields are too large or too many."),
    Code.INTERNAL_ERROR: Answer(500, "proxy_internal_error", "The gateway has a fault."),
    Code.UPSTREAM_UNREACHABLE: Answer(502, "destination_unavailable", "Productlane could not be reached."),
    Code.UPSTREAM_BROKEN: Answer(502, "http_protocol_error", "Productlane broke off, or its answer is not HTTP."),
    Code.UPSTREAM_KEY_REJECTED: Answer(
        502, "proxy_configuration_error", "Productlane does not accept the key; the caller cannot mend this."
    ),
    Code.UPSTREAM_KEY_UNSUPPORTED: Answer(
        502, "proxy_configuration_error", "The key is one of v1; the caller cannot mend this."
    ),
    Code.OVERLOADED: Answer(503, "connection_limit_reached", "The gateway is full (`Retry-After`)."),
    Code.DRAINING: Answer(503, "proxy_internal_response", "The gateway shuts down (`Retry-After`)."),
    Code.CIRCUIT_OPEN: Answer(
        503, "destination_unavailable", "Ten requests in a row had no answer of Productlane (`Retry-After`)."
    ),
    Code.ISSUER_UNAVAILABLE: Answer(
        503, "proxy_internal_error", "The keys that verify this token cannot be fetched now (`Retry-After`)."
    ),
    Code.UPSTREAM_TIMEOUT: Answer(504, "connection_read_timeout", "Productlane did not answer in time."),
    Code.VERSION_NOT_SUPPORTED: Answer(505, "http_request_error", "The request is not HTTP/1.1."),
    Code.LOOP_DETECTED: Answer(508, "proxy_loop_detected", "The upstream leads back to this gateway."),
}


class Reason(StrEnum):
    """Why a request was allowed or refused, finer than its code: the ``reason`` of log lines and metrics."""

    SCOPE_HELD = "scope_held"
    ENDPOINT_NAMED = "endpoint_named"
    ANY_KEY = "any_key"

    TARGET = "target"
    FRAMING = "framing"
    HEADERS = "headers"
    LOOP = "loop"
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    CREDENTIAL_EXPIRED = "credential_expired"
    CREDENTIAL_AMBIGUOUS = "credential_ambiguous"
    ISSUER = "issuer"
    KEY_VERSION = "key_version"
    API_VERSION = "api_version"
    ENDPOINT_UNKNOWN = "endpoint_unknown"
    METHOD = "method"
    EXPIRED = "expired"
    CROSS_SITE = "cross_site"
    DENIED = "denied"
    GUARDED = "guarded"
    SCOPE_NOT_GRANTED = "scope_not_granted"
    NO_ROUTE = "no_route"
    SCOPE_ON_NO_KEY = "scope_on_no_key"
    KEY_REFUSED = "key_refused"
    LIMIT = "limit"
    BUDGET = "budget"
    BODY = "body"
    TIME = "time"
    DRAIN = "drain"
    LOAD = "load"
    UPSTREAM = "upstream"
    FAULT = "fault"


class Remedy(NamedTuple):
    """Where a refusal comes from, as a setting or a part, and an imperative clause for what would change it."""

    decided_by: str
    fix: str


# For refusals that know no better: one row for each reason that refuses.
REMEDIES: Final[Mapping[Reason, Remedy]] = {
    Reason.TARGET: Remedy("the request", "send the path as the documentation of the API writes it"),
    Reason.FRAMING: Remedy("the request", "send one well-formed HTTP/1.1 request, as HTTP libraries do"),
    Reason.HEADERS: Remedy("the request", "correct its header fields"),
    Reason.LOOP: Remedy("upstream.url", "correct `upstream.url`"),
    Reason.CREDENTIAL_MISSING: Remedy(
        "authentication", "send `Authorization: Bearer <token>` with this caller's token"
    ),
    Reason.CREDENTIAL_UNKNOWN: Remedy(
        "authentication", "list this credential under `authenticate` in the caller's policy"
    ),
    Reason.CREDENTIAL_EXPIRED: Remedy("authentication", "send a credential that is still valid"),
    Reason.CREDENTIAL_AMBIGUOUS: Remedy("authentication", "send one Authorization field"),
    Reason.ISSUER: Remedy("the issuer of the token", "send it again soon"),
    Reason.KEY_VERSION: Remedy("authentication", "send this caller's own token, not a key of Productlane"),
    Reason.API_VERSION: Remedy("the catalog", "use an endpoint of v2"),
    Reason.ENDPOINT_UNKNOWN: Remedy("the catalog", "correct the path"),
    Reason.METHOD: Remedy("the catalog", "use a method that the path has"),
    Reason.EXPIRED: Remedy("the caller's policy", "renew the grant"),
    Reason.CROSS_SITE: Remedy("the anonymous policy", "let the caller authenticate"),
    Reason.DENIED: Remedy("the caller's policy", "change the policy"),
    Reason.GUARDED: Remedy("the catalog", "name the endpoint in the policy"),
    Reason.SCOPE_NOT_GRANTED: Remedy("the caller's policy", "add the scope to the policy"),
    Reason.NO_ROUTE: Remedy("routes", "add a route"),
    Reason.SCOPE_ON_NO_KEY: Remedy("routes", "widen a key in Productlane"),
    Reason.KEY_REFUSED: Remedy("keys", "replace the key"),
    Reason.LIMIT: Remedy("the caller's policy, limits", "send less, or raise the limit in the policy"),
    Reason.BUDGET: Remedy("the rate budget of the key", "send it again after `Retry-After`"),
    Reason.BODY: Remedy("limits.body", "send a smaller body"),
    Reason.TIME: Remedy("the time-outs of the gateway", "send the whole request without pauses"),
    Reason.DRAIN: Remedy("the gateway", "send it again"),
    Reason.LOAD: Remedy("the limits of the gateway", "send it again after `Retry-After`"),
    Reason.UPSTREAM: Remedy("Productlane", "send it again later"),
    Reason.FAULT: Remedy("the gateway", "report it with the id of the request"),
}


class Refused(Exception):
    """The gateway answers this request itself.

    ``message`` is the sentence for the caller. ``note`` is the cause as the operator sees it, the message where there
    is none, with ``fix``, an imperative clause for what would change it; it goes into ``Proxy-Status``, the log and the
    envelope. ``decided_by`` names the setting or the part that refused. Both default to the row of the reason in
    `REMEDIES`. ``details`` is the envelope's, where the code has one. ``headers`` are further response headers, such as
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
        remedy = REMEDIES[reason]
        self.code: Final = code
        self.reason: Final = reason
        self.message: Final = message
        self.fix: Final = fix or remedy.fix
        self.note: Final = f"{note or message.removesuffix('.')}; {self.fix}"
        self.decided_by: Final = decided_by or remedy.decided_by
        self.details: Final = details
        self.headers = headers
        self.proxy_error: Final = proxy_error or ANSWERS[code].proxy_error
        self.limit: Final = limit

    @property
    def status(self) -> int:
        return ANSWERS[self.code].status
