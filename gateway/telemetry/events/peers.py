"""Events between the gateway and its peers: Productlane, the resolver, issuers, callers."""

import msgspec

from gateway.core.field_rules import FIELD_CLASSES
from gateway.telemetry import labels
from gateway.telemetry.event import Counted, Event, Level, Names


class IssuerFault(Event, frozen=True):
    """An issuer's keys could not be fetched; the line is written once for each reason."""

    name = "issuer_fault"
    level = "warning"
    untold = frozenset({"first"})
    counter = Counted("issuer_faults", "Fetches of an issuer's keys that failed.", {"issuer": Names.ISSUER})
    issuer: str
    reason: str
    first: bool

    def severity(self) -> Level | None:
        return "warning" if self.first else None


class IssuerBack(Event, frozen=True):
    """An issuer's keys can be fetched again."""

    name = "issuer_back"
    issuer: str


class NameLookup(Event, frozen=True):
    """The resolver was asked for a name."""

    counter = Counted(
        "name_lookups",
        "Questions to the resolver.",
        {"use": labels.NAME_USES, "result": labels.LOOKUP_RESULTS},
    )
    use: str
    result: str


class NameUnresolved(Event, frozen=True):
    """A name cannot be looked up; addresses of `seconds` ago serve, where there are any."""

    name = "name_unresolved"
    level = "warning"
    use: str
    reason: str
    seconds: float | None


class NameResolves(Event, frozen=True):
    """A name can be looked up again."""

    name = "name_resolves"
    use: str


class UpstreamRetry(Event, frozen=True):
    """A request is sent to Productlane once more: `connect`, `closed`, `key` or `rate_limited`."""

    counter = Counted("upstream_retries", "Requests sent to Productlane once more.", {"reason": labels.RETRIES})
    reason: str


class UpstreamFailure(Event, frozen=True):
    """Productlane gave no answer to a request; `error` is a type of RFC 9209 section 2.3."""

    counter = Counted(
        "upstream_failures",
        "Requests that Productlane gave no answer to, by the error of Proxy-Status.",
        {"error": labels.FAILURES},
    )
    error: str


class CircuitOpen(Event, frozen=True):
    """Productlane has stopped answering: one request at a time tries, and all others are refused at once."""

    name = "circuit_open"
    level = "warning"


class CircuitClosed(Event, frozen=True):
    """Productlane answers again."""

    name = "circuit_closed"


class LimitReached(Event, frozen=True):
    """A bound of docs/limits.md was reached."""

    counter = Counted("limits_reached", "Bounds that were reached (docs/limits.md).", {"limit": labels.LIMITS})
    limit: str


class TlsHandshakeFailed(Event, frozen=True):
    """A caller's TLS handshake failed; one line a second for each `reason`, since the last of which `more` failed."""

    name = "tls_handshake_failed"
    untold = frozenset({"logged"})
    counter = Counted(
        "tls_handshake_failures", "TLS handshakes of callers that failed.", {"reason": labels.HANDSHAKE_FAILURES}
    )
    reason: str
    peer: str | None
    error: str | None
    more: int | None
    logged: bool

    def severity(self) -> Level | None:
        return "info" if self.logged else None


class RequestFieldsRefused(Event, frozen=True):
    """Fields of a request stay behind, because no list names them: once for each class of `names`."""

    name = "request_fields_refused"
    level = "debug"
    counter = Counted(
        "request_fields_refused",
        "Requests with fields that stay behind, by the class of their names.",
        {"kind": FIELD_CLASSES},
    )
    kind: str
    names: list[str]


class CatalogMiss(Event, frozen=True):
    """Productlane asks for `scopes` that the catalog does not; the line is written once for each."""

    name = "catalog_miss"
    untold = frozenset({"first"})
    counter = Counted(
        "catalog_misses",
        "Answers 403 scope_required that the catalog did not foresee.",
        {"endpoint": Names.ENDPOINT},
    )
    # Readers of the log take a line with `endpoint` for that of a request.
    endpoint: str = msgspec.field(name="catalog_endpoint")
    key: str
    scopes: list[str]
    reason: str
    first: bool

    def severity(self) -> Level | None:
        return "warning" if self.first else None


class CallerSuppliedKey(Event, frozen=True):
    """A caller sent a Productlane key of its own."""

    counter = Counted(
        "caller_supplied_keys",
        "Requests in which a caller sent a Productlane key of its own.",
        {"caller": Names.CALLER, "version": labels.KEY_VERSIONS},
    )
    caller: str
    version: str
