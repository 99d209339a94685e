"""What there is to tell of one request: its log line, which metrics, usage and spans are made from too."""

from typing import Protocol

import msgspec


class Attempt(Protocol):
    """One time that a request is sent upstream, with the ``fields`` that its span adds."""

    @property
    def fields(self) -> list[tuple[str, str]]: ...
    def answered(self, status: int) -> None: ...
    def failed(self, error: str) -> None: ...


class Trace(Protocol):
    """Makes the spans of one request."""

    def send(self, host: str, port: int) -> Attempt: ...
    def end(self) -> None: ...


class Record(msgspec.Struct):
    """One request, filled in as it goes and reported once at its end. The data path's only mutable value.

    Its fields, in their order, are the log line of the request. ``time`` and ``level`` are filled in by the log.
    ``caller_request_id`` is the caller's ``X-Request-Id``, and ``upstream_request_id`` Productlane's, as far as they
    are fit to be logged. ``caller`` is ``-`` while unknown; ``peer`` is the address, or on a unix socket the user, at
    the other end of the connection. ``endpoint`` is ``other`` outside the catalog.
    ``status`` is what the caller got, 0 where it left before an answer. ``code`` is ``error.code`` of the answer from
    the gateway or the upstream, else empty. ``source`` says who answered: ``gateway`` or ``upstream``. ``decision`` is
    ``allow``, ``deny`` or ``would_deny``, empty before there is one; ``reason`` is a `Reason` of the core, ``note``
    that of a `Refused`. ``lane`` is empty while unknown. Times are milliseconds, to the microsecond: ``wait_ms`` for
    budget, ``upstream_ms`` from the first byte sent upstream until the head of its answer was read or failed to come
    (None where it was not asked), ``duration_ms`` from the request's head to the last byte of its answer. Bytes are
    those of the two bodies, on the caller's side. ``translated`` is Productlane's 401 or 410 about the key where the
    caller got 502 in its place; unset otherwise. ``trace`` makes its spans and is unset once they have ended, or if
    tracing is off.
    """

    time: str = ""
    level: str = "info"
    request_id: str = ""
    caller_request_id: str = ""
    upstream_request_id: str = ""
    caller: str = "-"
    peer: str = ""
    endpoint: str = "other"
    method: str = ""
    status: int = 0
    code: str = ""
    source: str = "gateway"
    decision: str = ""
    reason: str = ""
    note: str = ""
    key: str = ""
    slot: str = ""
    lane: str = ""
    wait_ms: float = 0.0
    upstream_ms: float | None = None
    duration_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    trace_id: str = ""
    translated: int | msgspec.UnsetType = msgspec.UNSET
    trace: Trace | msgspec.UnsetType = msgspec.UNSET
