"""One request, top to bottom.

bytes → request → target → caller → endpoint → policy → route → key → upstream → bytes
          └───────┴────────┴─────────┴─────────┴────────┴──────┴───────┴──► Refused: one answer, count and log line
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.budgets.caps import Caps
from gateway.budgets.pacing import Pacer
from gateway.callers.refusals import supplied_key
from gateway.config.assembly.snapshot import Snapshot
from gateway.core.catalog import NOWHERE, Lane
from gateway.core.decision import NOT_ASKED, Permit, ask, decide, trace
from gateway.core.field_rules import Rules, request_rules
from gateway.core.policy import Policy
from gateway.core.refusal import Refused
from gateway.core.target import Target, read_target
from gateway.proxy.exchange import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.me_answer import me_answer
from gateway.proxy.refused_fields import report_fields
from gateway.proxy.refusing import ENDS_CONNECTION, cut, cut_by_drain, own_fault, refusal_answer
from gateway.proxy.relaying import ME
from gateway.proxy.reply import Reply, make_head
from gateway.proxy.request import Request, refused_request
from gateway.proxy.serving import Current, Serving
from gateway.proxy.verdicts import Today, Verdict
from gateway.telemetry.events.peers import CallerSuppliedKey
from gateway.telemetry.events.process import KeyChosen, RequestJudged
from gateway.telemetry.ids import RequestIds
from gateway.telemetry.record import Record
from gateway.telemetry.reporter import Reporter

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing

DRAIN: Final = "drain"
_LEFT: Final = "the caller left before the end of its answer"


class Handler:
    """Serves requests. ``clock`` is Unix time in seconds."""

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
        self._pacer: Final = pacer
        self._debug: Final = reporter.log.debug
        self._tracing: Final = tracing
        self._forwarder: Final = Forwarder(reporter, current, pacer, self._judge_again)
        self._new_request_id: Final = RequestIds()
        self._named: tuple[str, ...] | None = None
        self._rules = request_rules()
        self._date: Final = Today(clock)

    def rules(self) -> Rules:
        """Which fields of a request cross, as the configuration has it now."""
        named = self._current.serving.snapshot.settings.upstream.request_fields
        if named is not self._named:
            self._named, self._rules = named, request_rules(named, traced=self._tracing is not None)
        return self._rules

    async def serve(self, request: Request, reply: Reply) -> None:
        """Serve one request. Whatever happens, it is answered, counted and logged once."""
        started = time.perf_counter()
        record = self._record(request, reply.connection.peer_name)
        self._metrics.in_flight += 1
        try:
            if request.refused is None:
                await self._pass(request, reply, record)
            else:
                await self._give_up(request.refused, reply, record)
        except BaseException as failure:
            if not await self._give_up(failure, reply, record):
                raise
        finally:
            self._metrics.in_flight -= 1
            record.bytes_out = reply.sent
            record.duration_ms = round((time.perf_counter() - started) * 1000, 3)
            self._tell(record)

    async def _give_up(self, failure: BaseException, reply: Reply, record: Record) -> bool:
        """Answer a request that came to nothing, unless its caller has left or its answer has begun. Returns whether
        that is all: raised here, the failure and its traceback would keep each other.
        """
        if isinstance(failure, Refused):
            refused = failure
        elif isinstance(failure, asyncio.CancelledError):
            refused = cut_by_drain()
            if DRAIN not in failure.args or record.status:
                record.note = refused.note if DRAIN in failure.args else _LEFT
                reply.abort()
                return False
        elif isinstance(failure, ConnectionError):
            cut(failure, reply, record, self._reporter)
            return True
        elif isinstance(failure, Exception):
            refused = own_fault(failure)
        else:
            return False
        if reply.began:
            record.note = refused.note
            reply.abort()
            return True
        lines, body = refusal_answer(refused, record, self._reporter)
        reply.closes = self._current.draining or refused.reason in ENDS_CONNECTION
        reply.settings = self._current.serving.snapshot.settings
        try:
            await reply.whole(record.status, lines, body)
        except ConnectionError as gone:
            cut(gone, reply, record, self._reporter)
        return True

    def last_words(self, refused: Refused) -> bytes:
        """The answer, in bytes, to a connection that ends before there is a request on it."""
        record = self._record(refused_request(refused))
        lines, body = refusal_answer(refused, record, self._reporter)
        self._tell(record)
        return make_head(record.status, lines, b"Content-Length: %d\r\nConnection: close\r\n" % len(body)) + body

    def _record(self, request: Request, peer: str = "") -> Record:
        record = Record(
            request_id=self._new_request_id(),
            caller_request_id=request.caller_request_id,
            peer=peer,
            method=request.method,
            trace_id=request.trace_id,
        )
        if self._tracing is not None:
            self._tracing.begin(record, request.fields)
        return record

    def _tell(self, record: Record) -> None:
        if record.trace:
            record.trace.end()
        self._reporter.finished(record)

    async def _pass(self, request: Request, reply: Reply, record: Record) -> None:
        """Judge a request and have it forwarded, or answer it from what is known. Raises `Refused`."""
        if request.refused_fields is not None:
            report_fields(request.refused_fields, self._reporter.emit)
        serving = self._current.serving
        reply.settings = serving.snapshot.settings
        permit = self._remembered(request, serving, record) or await self._judge(request, reply, serving, record)
        if record.endpoint == ME and await self._me(reply, serving, permit, record):
            return
        chosen = serving.keyring.choose_again(permit) or await serving.keyring.choose(permit)
        record.key, record.slot = chosen.key, chosen.slot
        if self._debug:
            lane = self._pacer.status().get((chosen.key, record.lane))
            left = (None, None) if lane is None else (lane.remaining, lane.limit)
            self._reporter.emit(KeyChosen(record.request_id, chosen.key, chosen.slot, record.lane, *left))
        policy = permit.ask.policy
        exchange = Exchange(permit, chosen, request, reply, record, serving, judged_by=serving)
        try:
            if policy.reads is not None or policy.writes is not None:
                exchange.limits = await self._caps.spend(policy, permit.lane)
            await self._forwarder.forward(exchange)
        except Refused as refused:
            self._pacer.add_fields(refused, chosen, permit.lane, policy, exchange.limits)
            raise

    def _remembered(self, request: Request, serving: Serving, record: Record) -> Permit | None:
        """The permit of an earlier request that was the same, of the same caller by its own token; None for another."""
        caller = request.shown.known_by(serving.identification.mark)
        if caller is None or self._debug:
            return None
        verdict = serving.verdicts.find(caller, request.method, request.target, self._date())
        return None if verdict is None else verdict.tell(record)

    async def _judge(self, request: Request, reply: Reply, serving: Serving, record: Record) -> Permit:
        """Whether a request is let through. Raises `Refused`."""
        target = read_target(request.method, request.target)
        caller = request.shown.known_by(serving.identification.mark)
        if caller is None:
            policy = await self._identify(request, reply, serving, record)
        else:
            record.caller, policy = caller, serving.snapshot.policies[caller]
        permit = self._decide(target, policy, serving.snapshot, record)
        return serving.verdicts.keep(permit, request.target, self._date()).tell(record)

    async def _judge_again(self, exchange: Exchange) -> None:
        """Judge a request that has waited by the configuration and on the day that there are now. Raises `Refused`.

        What was allowed hours ago may have been revoked since. The secret, the budget and the upstream that were chosen
        stay.
        """
        serving, record = self._current.serving, exchange.record
        if serving is exchange.judged_by and exchange.permit.ask.today == self._date():
            return
        policy = await self._identify(exchange.request, exchange.reply, serving, record)
        exchange.permit = self._decide(exchange.permit.target, policy, serving.snapshot, record)
        Verdict(exchange.permit).tell(record)
        exchange.judged_by = serving

    def _decide(self, target: Target, policy: Policy, snapshot: Snapshot, record: Record) -> Permit:
        """The decision, with what was known by then in the record. Raises `Refused`."""
        asked = ask(target, policy, snapshot.catalog, snapshot.routes, self._date())
        if asked.endpoint is not NOWHERE:
            record.endpoint, record.lane = asked.endpoint.name, asked.endpoint.lane.value
        if self._debug:
            rules = [f"{step.rule}: {step.outcome}, {step.why}" for step in trace(asked) if step.outcome != NOT_ASKED]
            self._reporter.emit(RequestJudged(record.request_id, record.caller, rules))
        return decide(asked)

    async def _identify(self, request: Request, reply: Reply, serving: Serving, record: Record) -> Policy:
        authorization, peer, identification = request.authorization, reply.connection.peer, serving.identification
        now = self._clock()
        version = supplied_key(authorization) if authorization else None
        try:
            found = identification.identify_now(authorization, peer, now=now)
            record.caller = found or await identification.identify(authorization, peer, now=now)
        finally:
            if version:
                self._reporter.emit(CallerSuppliedKey(record.caller, version))
        caller = None if version else identification.by_token(authorization)
        request.shown.identified = None if caller is None else (identification.mark, caller)
        if record.caller == identification.anonymous:
            identification.check_site(request.read)
        return serving.snapshot.policies[record.caller]

    async def _me(self, reply: Reply, serving: Serving, permit: Permit, record: Record) -> bool:
        """Answer ``GET /me`` from the identity cache; false where it is unknown, so that the upstream is asked."""
        chosen, known = await serving.keyring.me(permit)
        if known.identity is None:
            return False
        budget = self._pacer.fields(chosen, Lane.READ, permit.policy)
        limits = await self._caps.spend(permit.policy, Lane.READ, budget)
        record.key, record.slot, record.status = chosen.key, chosen.slot, 200
        ttl = serving.snapshot.settings.identity.ttl
        lines, body = me_answer(known, permit.policy, ttl, record.request_id)
        reply.closes = self._current.draining
        await reply.whole(200, b"\r\n".join(filter(None, (lines, budget, limits))), body)
        return True
