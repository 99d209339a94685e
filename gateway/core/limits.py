"""What a caller, an address, a key and the gateway as a whole may hold: one row for each bound.

`docs/limits.md` is generated from here, and `tests/abuse/test_limits.py` goes over each row that is counted.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Limit(StrEnum):
    """The ``limit`` of `limits_reached_total`."""

    CONNECTIONS = "connections"
    CONNECTIONS_PER_ADDRESS = "connections_per_address"
    HANDSHAKES = "handshakes"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    HEAD_TIMEOUT = "head_timeout"
    HEAD_SIZE = "head_size"
    HEADS = "heads"
    HEADS_PER_ADDRESS = "heads_per_address"
    TARGET_SIZE = "target_size"
    BODY_SIZE = "body_size"
    BODY_SILENCE = "body_silence"
    BODY_RATE = "body_rate"
    ANSWER_SILENCE = "answer_silence"
    ANSWER_RATE = "answer_rate"
    ANSWER_TIMEOUT = "answer_timeout"
    QUEUE = "queue"
    QUEUE_WAIT = "queue_wait"
    REQUESTS_PER_MINUTE = "requests_per_minute"
    UPSTREAM_CONNECTIONS = "upstream_connections"
    UPSTREAM_SHARE = "upstream_share"


class Row(NamedTuple):
    """A bound on ``what``, ``per`` whom; ``over`` is what happens past it.

    Its value is that of ``setting``, a dotted path, or of the constants ``fixed``, each as ``module:NAME``; ``default``
    says it in words where neither can. ``limit`` counts it, else ``seen_in`` says where it shows.
    """

    what: str
    per: str
    over: str
    limit: Limit | None = None
    setting: str = ""
    fixed: tuple[str, ...] = ()
    default: str = ""
    seen_in: str = "–"


# TLS handshakes under way are at most one part of so many of `limits.connections`; and never more than this, since each
# takes 65 kB, or 150 kB with the longest ClientHello.
HANDSHAKE_SHARE: Final = 4
MOST_HANDSHAKES: Final = 1024
# One address may hold one part of so many of `limits.heads`.
HEADS_SHARE: Final = 4

_CLOSE_408: Final = "408 `request_timeout`, close"
_CUT: Final = "the answer is cut"
_OVERLOADED: Final = "503 `overloaded`"
_HELD_BACK: Final = "TCP holds the caller back"
_SAME: Final = "the same"

ROWS: Final = (
    Row(
        "connections of callers",
        "gateway",
        f"{_OVERLOADED}, close; over TLS closed before the handshake",
        Limit.CONNECTIONS,
        "limits.connections",
    ),
    Row("connections of callers", "address", _SAME, Limit.CONNECTIONS_PER_ADDRESS, "limits.connections_per_address"),
    Row(
        "TLS handshakes under way",
        "gateway",
        "the one that has waited longest is closed",
        Limit.HANDSHAKES,
        default=f"1 in {HANDSHAKE_SHARE} of `limits.connections`, {MOST_HANDSHAKES} at most",
    ),
    Row(
        "bytes of a ClientHello; of a TLS handshake",
        "connection",
        "close",
        fixed=("gateway.proxy.handshakes:MAX_HELLO", "gateway.proxy.handshake_bytes:MAX_HANDSHAKE"),
        seen_in='`tls_handshake_failures_total{reason="protocol"}`',
    ),
    Row("time for a TLS handshake", "connection", "close", Limit.HANDSHAKE_TIMEOUT, "limits.handshake_timeout"),
    Row("time for a head", "connection", _CLOSE_408, Limit.HEAD_TIMEOUT, "limits.head_timeout"),
    Row("idle time between requests", "connection", "close without an answer", setting="limits.keepalive_timeout"),
    Row(
        "time to take the rest of an answer from a connection that closes",
        "connection",
        _CUT,
        setting="limits.keepalive_timeout",
        seen_in=f'`limits_reached_total{{limit="{Limit.ANSWER_SILENCE}"}}`',
    ),
    Row(
        "bytes of a head; fields",
        "request",
        "431 `headers_too_large`",
        Limit.HEAD_SIZE,
        fixed=("gateway.proxy.request:MAX_HEAD", "gateway.proxy.request:MAX_FIELDS"),
    ),
    Row(
        "bytes of heads without an answer; whole heads up to 4 KiB do not count",
        "gateway",
        f"{_OVERLOADED}, close, for the longest wait for the rest of a head, of the address that holds most",
        Limit.HEADS,
        "limits.heads",
    ),
    Row("the same", "address", _SAME, Limit.HEADS_PER_ADDRESS, default=f"1 in {HEADS_SHARE} of `limits.heads`"),
    Row(
        "bytes of a target",
        "request",
        "414 `uri_too_long`",
        Limit.TARGET_SIZE,
        fixed=("gateway.core.target:MAX_TARGET",),
    ),
    Row(
        "requests that wait behind the one that is served; bytes of their heads",
        "connection",
        _HELD_BACK,
        fixed=("gateway.proxy.inbox:MAX_WAITING", "gateway.proxy.request:MAX_HEAD"),
    ),
    Row(
        "requests and TLS handshakes that begin in a turn of the event loop",
        "gateway",
        "the rest waits a turn; addresses take turns",
        fixed=("gateway.proxy.turns:BEGIN_A_TURN",),
    ),
    Row("bytes of a body", "request", "413 `payload_too_large`, close", Limit.BODY_SIZE, "limits.body"),
    Row("silence within a body", "request", _CLOSE_408, Limit.BODY_SILENCE, "upstream.idle_timeout"),
    Row(
        "least bytes a second of a body, after 30 s of waiting",
        "request",
        _CLOSE_408,
        Limit.BODY_RATE,
        "limits.body_rate",
    ),
    Row("bytes of a body that are held", "request", _HELD_BACK, fixed=("gateway.proxy.request_body:HIGH_WATER",)),
    Row(
        "chunks that are read in a turn of the event loop: of a body; of an answer",
        "connection",
        "the rest waits a turn",
        fixed=("gateway.proxy.request_body:CHUNKS_A_TURN", "gateway.proxy.answer_body:CHUNKS_A_TURN"),
    ),
    Row(
        "bytes of the line of a chunk's size; of trailers",
        "request",
        "400 `invalid_request`, close",
        fixed=("gateway.proxy.request_body:MAX_CHUNK_LINE", "gateway.core.message:MAX_TRAILERS"),
        seen_in='`requests_total{status="400"}`',
    ),
    Row(
        "silence of a caller that takes its answer, for 48 KiB of it",
        "request",
        _CUT,
        Limit.ANSWER_SILENCE,
        "upstream.idle_timeout",
    ),
    Row(
        "least bytes a second that a caller takes of its answer, after 30 s of waiting for it",
        "request",
        _CUT,
        Limit.ANSWER_RATE,
        "limits.answer_rate",
    ),
    Row(
        "time for the body of an answer, whoever is slow",
        "request",
        _CUT,
        Limit.ANSWER_TIMEOUT,
        "upstream.answer_timeout",
    ),
    Row(
        "requests that wait for budget",
        "key",
        f"{_OVERLOADED}, for the newest of the caller that has most",
        Limit.QUEUE,
        "pacing.max_queue",
    ),
    Row("wait for budget", "request", "429 `rate_limited`", Limit.QUEUE_WAIT, "pacing.max_wait"),
    Row(
        "share of a key's budget",
        "caller",
        "waits for its turn",
        default="by `weight` of its policy",
        seen_in="[budgets](budgets.md)",
    ),
    Row(
        "requests a minute",
        "caller",
        "429 `rate_limited`",
        Limit.REQUESTS_PER_MINUTE,
        default="none; `limits` of its policy",
    ),
    Row(
        "exchanges with Productlane at a time",
        "gateway",
        f"waits 2 s, then {_OVERLOADED}",
        Limit.UPSTREAM_CONNECTIONS,
        "upstream.max_connections",
    ),
    Row("the same, while there can be other callers", "caller", _SAME, Limit.UPSTREAM_SHARE, default="half of them"),
    Row(
        "failures in a row of one caller",
        "caller",
        "503 `circuit_open`, one probe a second",
        fixed=("gateway.core.breaker:FAILURES",),
        seen_in='`requests_total{status="503"}`',
    ),
    Row(
        "failures in a row to connect, or of two callers",
        "gateway",
        "the same for everyone",
        fixed=("gateway.core.breaker:FAILURES",),
        seen_in="`circuit_state`, event `circuit_open`",
    ),
    Row(
        "requests sent once more",
        "gateway",
        "no repeat",
        default="a tenth of all, and 10",
        seen_in="`upstream_retries_total`",
    ),
    Row(
        "names of fields that are remembered",
        "gateway",
        "judged anew each time",
        default="those of the lists and settings",
        seen_in="`request_fields_refused_total`",
    ),
    Row(
        "connections to the admin listener; of one address",
        "gateway",
        "the one that has waited longest is closed, else the new one",
        fixed=("gateway.runtime.admin_listener:CONNECTIONS", "gateway.runtime.admin_listener:PER_ADDRESS"),
        seen_in="`admin_connections_refused_total`",
    ),
    Row(
        "seconds for a head to the admin listener, and between two requests",
        "connection",
        "408, close; or close",
        fixed=("gateway.runtime.admin_listener:HEAD_TIMEOUT",),
    ),
)
