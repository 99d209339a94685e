"""Refusals as answers: the record, the head and the body of every answer that the gateway gives itself."""

import json
import traceback
from pathlib import Path
from typing import Final

from gateway.core.envelope import envelope, proxy_status
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.retry_after import retry_after
from gateway.proxy.reply import CallerGone, Reply
from gateway.telemetry.record import Record
from gateway.telemetry.reporter import Reporter

# These end a request that policy has let through; the decision stays what it was.
_NOT_DECISIONS: Final = frozenset(
    {
        Reason.UPSTREAM,
        Reason.ISSUER,
        Reason.FAULT,
        Reason.TIME,
        Reason.BODY,
        Reason.LOAD,
        Reason.DRAIN,
        Reason.KEY_REFUSED,
        Reason.BUDGET,
    }
)
# After these the connection ends: its bytes cannot be trusted, or the certificate that it began with has expired.
ENDS_CONNECTION: Final = frozenset({Reason.FRAMING, Reason.TIME, Reason.BODY, Reason.CREDENTIAL_EXPIRED})


# The gateway's own id of the request, in every answer: `X-Request-Id` is Productlane's where it answered.
ID_FIELD: Final = "X-Gateway-Request-Id"


def field_lines(fields: "list[tuple[str, str]]") -> bytes:
    """Header fields as lines of a head, joined by line breaks."""
    return "\r\n".join([f"{name}: {value}" for name, value in fields]).encode("utf-8", "surrogateescape")


def refusal_answer(refused: Refused, record: Record, reporter: Reporter) -> tuple[bytes, bytes]:
    """The lines of the head and the body of a refusal, which is put on record; a limit that was reached is counted."""
    reporter.reached(refused.limit)
    record.status, record.code, record.source = refused.status, refused.code.value, "gateway"
    record.note = refused.note
    if refused.reason not in _NOT_DECISIONS:
        record.decision, record.reason = "deny", refused.reason
    elif not record.reason:
        record.reason = refused.reason
    fields = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", record.request_id),
        (ID_FIELD, record.request_id),
        ("Proxy-Status", proxy_status(refused.proxy_error, refused.note)),
        *refused.headers,
    ]
    body = json.dumps(envelope(refused, record.request_id), ensure_ascii=False, separators=(",", ":")).encode()
    return field_lines(fields), body


def cut(gone: ConnectionError, reply: Reply, record: Record, reporter: Reporter) -> None:
    """The caller has left, or does not take its answer in time: cut the answer, and put the reason on record."""
    record.note = str(gone)
    reporter.reached(gone.limit if isinstance(gone, CallerGone) else None)
    reply.abort()


def cut_by_drain() -> Refused:
    """The process ends before the request does."""
    return Refused(
        Code.DRAINING,
        Reason.DRAIN,
        "The gateway is shutting down.",
        note="the request was still being served when `drain.timeout` ran out",
        fix="send it again, after a look whether a write was done; or raise `drain.timeout` if requests take longer",
        decided_by="drain.timeout",
        headers=(retry_after(1),),
    )


def own_fault(failure: Exception) -> Refused:
    """A fault of the program. Its text may quote a header or a key, so only its type and place are reported."""
    frame = traceback.extract_tb(failure.__traceback__)[-1]
    return Refused(
        Code.INTERNAL_ERROR,
        Reason.FAULT,
        "The gateway failed to serve this request.",
        note=f"{type(failure).__name__} at {Path(frame.filename).name}:{frame.lineno}",
    )
