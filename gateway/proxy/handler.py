"""One request, top to bottom.

bytes → edge → target → caller → endpoint → policy → route → key → upstream → bytes
          └───────┴────────┴─────────┴─────────┴────────┴──────┴───────┴──► Refused: one answer, count and log line
"""

import asyncio
import json
import time
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.budgets.caps import Caps
from gateway.budgets.pacing import Pacer
from gateway.callers.credentials import identify, supplied_key
from gateway.callers.peers import HasPeer
from gateway.config.assembly.snapshot import Snapshot
from gateway.core.catalog import Endpoint, Lane
from gateway.core.policy import Permit, Policy, not_granted
from gateway.core.refusal import Code, Reason, Refused, envelope, proxy_status
from gateway.core.retry_after import retry_after
from gateway.core.routing import Route
from gateway.core.target import Target, read_target
from gateway.core.verdict import judge
from gateway.proxy import edge
from gateway.proxy.forward import Forwarder
from gateway.proxy.reply import Reply
from gateway.proxy.serving import Current, Serving
from gateway.telemetry.events.peers import CallerSuppliedKey
from gateway.telemetry.record import Record, RequestIds, trace_id
from gateway.telemetry.reporter import Reporter

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing

# These end a request that policy has let through; the decision stays what it was.
_NOT_DECISIONS: Final = frozenset(
    {
        Reason.UPSTREAM,
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
_LAST: Final = frozenset({Reason.FRAMING, Reason.TIME, Reason.BODY, Reason.CREDENTIAL_EXPIRED})
_ME: Final = "GET /me"
_CUT: Final = "drain"
_NO_FIELDS: Final = CIMultiDictProxy(CIMultiDict[str]())


class Handler:
    """Serves requests: callable as `aiohttp.web.Server` asks. ``clock`` is Unix time in seconds."""

    def __init__(
        self,
        current: Current,
        reporter: Reporter,
        *,
        pacer: Pacer,
        caps: Caps,
        clock: Callable[[], float] = time.time,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._current: Final = current
        self._reporter: Final = reporter
        self._metrics: Final = reporter.metrics
        self._clock: Final = clock
        self._caps: Final = caps
        self._tracing: Final = tracing
        self._forwarder: Final = Forwarder(reporter, current, pacer)
        self._new_request_id: Final = RequestIds()
        self._in_hand: set[asyncio.Task[object] | None] = set()
        self._day = -1
        self._today = date.min

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request. Whatever happens, it is answered, counted and logged once."""
        started = time.perf_counter()
        record = self._record(request)
        task = asyncio.current_task()
        self._in_hand.add(task)
        self._metrics.in_flight += 1
        reply: Reply | None = None
        try:
            reply = await self._reply(request, record)
            reply.patience = self._current.serving.snapshot.settings.upstream.idle_timeout
            if not reply.prepared and self._current.draining:
                reply.close()
            reply.begin(request)
            await reply.write_eof()
        except ConnectionError as gone:
            # Not raised: to aiohttp it would be a fault, to be answered, counted and logged once more.
            record.note = str(gone)
            if reply is not None:
                reply.abort()
        finally:
            self._in_hand.discard(task)
            self._metrics.in_flight -= 1
            record.bytes_out = reply.bytes_out if reply is not None else record.bytes_out
            record.duration_ms = (time.perf_counter() - started) * 1000
            self._tell(record)
        return _to_nobody() if reply is None else reply

    async def _reply(self, request: web.BaseRequest, record: Record) -> Reply:
        """The answer, whatever happens but that the caller leaves or a half-sent answer is cut."""
        try:
            return await self._serve(request, record)
        except Refused as refused:
            return _refusal(refused, record)
        except asyncio.CancelledError as cancelled:
            cut = _cut_by_drain()
            if _CUT in cancelled.args and not record.status:
                return _refusal(cut, record)
            record.note = cut.note if _CUT in cancelled.args else "the caller left before the end of its answer"
            raise
        except ConnectionError:
            raise
        except Exception as failure:  # noqa: BLE001 - a fault of our own, told here and nowhere else
            return _refusal(_fault(failure), record)

    def refuse(self, request: web.BaseRequest, refused: Refused) -> Reply:
        """The answer to a request that could not be parsed; its connection ends."""
        record = self._record(request)
        reply = _refusal(refused, record)
        reply.close()
        self._tell(record)
        return reply

    def last_words(self, refused: Refused) -> bytes:
        """The answer, in bytes, to a connection that ends before there is a request on it."""
        record = self._record()
        reply = _refusal(refused, record)
        self._tell(record)
        return reply.last_words()

    def cut(self) -> None:
        """End every request in hand: one that has no answer yet gets ``draining``, a half-sent answer is cut."""
        for task in self._in_hand:
            if task is not None:
                task.cancel(_CUT)

    def _record(self, request: web.BaseRequest | None = None) -> Record:
        """A new record, of a connection where there is no request."""
        method, fields = ("", _NO_FIELDS) if request is None else (request.method, request.headers)
        trace = trace_id(fields.get("traceparent"))
        record = Record(request_id=self._new_request_id(), method=method, trace_id=trace)
        if self._tracing is not None:
            self._tracing.begin(record, fields)
        return record

    def _tell(self, record: Record) -> None:
        if record.trace is not None:
            record.trace.end()
        self._reporter.finished(record)

    async def _serve(self, request: web.BaseRequest, record: Record) -> Reply:
        serving = self._current.serving
        snapshot = serving.snapshot
        edge.check(request)
        target = read_target(request.method, request.raw_path)
        policy = await self._identify(request, serving, record)
        endpoint, permit, route = self._judge(target, policy, snapshot, record)
        if endpoint.name == _ME and (reply := await self._me(serving, route, policy, record)):
            return reply
        chosen = await serving.keyring.choose(route, permit)
        record.key, record.slot = chosen.key, chosen.slot
        await self._caps.spend(policy, endpoint.lane)
        return await self._forwarder.forward(request, serving, target, endpoint, policy, chosen, record)

    def _judge(
        self, target: Target, policy: Policy, snapshot: Snapshot, record: Record
    ) -> tuple[Endpoint, Permit, Route]:
        """What `judge` comes to, told to the record as far as it got. Raises `Refused`."""
        verdict = judge(target, policy, snapshot.catalog, snapshot.routes, self._date())
        endpoint, permit, route = verdict.endpoint, verdict.permit, verdict.route
        if endpoint is not None:
            record.endpoint, record.lane = endpoint.name, endpoint.lane.value
        if permit is not None:
            record.decision = "would_deny" if permit.would_deny else "allow"
            record.reason = permit.reason
            if permit.would_deny:
                record.note = not_granted(policy, permit.endpoint)
        if endpoint is None or permit is None or route is None:
            assert verdict.refused is not None  # noqa: S101 - what is missing was refused
            raise verdict.refused
        return endpoint, permit, route

    async def _identify(self, request: web.BaseRequest, serving: Serving, record: Record) -> Policy:
        authorization = request.headers.getall("Authorization", [])
        peer, callers = cast(HasPeer, request.protocol).peer, serving.snapshot.callers
        try:
            record.caller = await identify(authorization, callers, peer, serving.accounts, now=self._clock())
        finally:
            if authorization and (version := supplied_key(authorization)):
                self._reporter.emit(CallerSuppliedKey(record.caller, version))
        return serving.snapshot.policies[record.caller]

    async def _me(self, serving: Serving, route: Route, policy: Policy, record: Record) -> Reply | None:
        """``GET /me`` from the identity cache; None where the identity is unknown, so that the upstream is asked."""
        chosen, known = await serving.keyring.me(route)
        if known.identity is None:
            return None
        await self._caps.spend(policy, Lane.READ)
        record.key, record.slot, record.status = chosen.key, chosen.slot, 200
        left = f"ttl={int(serving.snapshot.settings.identity.ttl - known.age)}"
        # RFC 9211 section 2: a stale answer is a hit whose ttl is negative.
        outcome = f"fwd=miss; fwd-status=200; stored; {left}" if known.result == "miss" else f"hit; {left}"
        fields = [
            ("Content-Type", "application/json"),
            ("Age", str(int(known.age))),
            ("Cache-Status", f"productlane-gateway; {outcome}"),
            ("X-Request-Id", record.request_id),
        ]
        body = json.dumps(known.identity.as_seen_by(policy), separators=(",", ":")).encode()
        return Reply(200, fields, body=body)

    def _date(self) -> date:
        """Today in UTC, worked out once a day."""
        day = int(self._clock() // 86400)
        if day != self._day:
            self._day, self._today = day, datetime.fromtimestamp(day * 86400, UTC).date()
        return self._today


def _refusal(refused: Refused, record: Record) -> Reply:
    """The one answer that every refusal gets. The connection ends where the rest of the request cannot be trusted."""
    record.status, record.code, record.source = refused.status, refused.code.value, "gateway"
    record.note = refused.note
    if refused.reason not in _NOT_DECISIONS:
        record.decision, record.reason = "deny", refused.reason
    elif not record.reason:
        record.reason = refused.reason
    fields = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", record.request_id),
        ("Proxy-Status", proxy_status(refused.proxy_error, refused.note)),
        *refused.headers,
    ]
    body = json.dumps(envelope(refused, record.request_id), ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(refused.status, fields, body=body, close=refused.reason in _LAST)


def _to_nobody() -> Reply:
    """The end of a connection whose caller has left: nothing is sent."""
    reply = Reply(500, ())
    reply.abort()
    return reply


def _cut_by_drain() -> Refused:
    return Refused(
        Code.DRAINING,
        Reason.DRAIN,
        "The gateway is shutting down.",
        note="the request was still being served when `drain.timeout` ran out",
        headers=(retry_after(1),),
    )


def _fault(failure: Exception) -> Refused:
    """A fault of the program. Its text may quote a header or a key, so only its type and place are told."""
    frame = traceback.extract_tb(failure.__traceback__)[-1]
    return Refused(
        Code.INTERNAL_ERROR,
        Reason.FAULT,
        "The gateway failed to serve this request.",
        note=f"{type(failure).__name__} at {Path(frame.filename).name}:{frame.lineno}",
    )
