"""An allowed request goes upstream with its key, and the answer comes back, streamed."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias

from gateway.budgets.pacing import Lease, Pacer
from gateway.config.schema.gateway import Pacing
from gateway.core.catalog import Lane
from gateway.core.headers import upstream_lines
from gateway.core.key_faults import fault_of_answer
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Refused
from gateway.keys.keyring import Chosen
from gateway.proxy.catalog_misses import CatalogMisses
from gateway.proxy.exchange import Exchange
from gateway.proxy.lost import Lost
from gateway.proxy.refusing import ID_FIELD, field_lines
from gateway.proxy.relaying import ME, error_code, key_fault_fields, read_error, read_identity, relay
from gateway.proxy.request_body import AT_ONCE, Body, Upload
from gateway.proxy.serving import Current
from gateway.proxy.upstream_messages import Incoming, Outgoing
from gateway.telemetry.events.peers import LimitReached, UpstreamFailure, UpstreamRetry
from gateway.telemetry.ids import read_request_id
from gateway.telemetry.reporter import Reporter

_OUR_LINES: Final = ID_FIELD.encode() + b": %b\r\n%b"
# Nobody was asked.
_NOT_ASKED: Final = frozenset({Code.OVERLOADED, Code.CIRCUIT_OPEN})
# A method that changes nothing (RFC 9110 section 9.2.1) may be sent once more.
_SAFE: Final = frozenset({"GET", "HEAD"})


# Judges an exchange once more if the configuration or the day has changed since; raises `Refused`.
JudgeAgain: TypeAlias = Callable[[Exchange], Awaitable[None]]


class Forwarder:
    """Sends requests on and relays answers."""

    def __init__(self, reporter: Reporter, current: Current, pacer: Pacer, judge_again: JudgeAgain) -> None:
        self._emit: Final = reporter.emit
        self._current: Final = current
        self._pacer: Final = pacer
        self._judge_again: Final = judge_again
        self._misses: Final = CatalogMisses(reporter.emit)

    async def forward(self, exchange: Exchange) -> None:
        """Relay the upstream's answer. Raises `Refused` where there is none to relay.

        A small body is read before rate budget is taken, so that a slow caller holds none; a request that waits for
        budget holds no connection to the upstream, and its large body is not read.
        """
        request, record = exchange.request, exchange.record
        upload: Upload | None = None
        body: bytes | AsyncIterator[bytes] | None = b"" if request.states_no_content else None
        if request.body is not None and (body := self._at_hand(exchange, request.body)) is None:
            upload = self._upload(exchange, request.body)
            if upload.small:
                body = await upload.whole()
                record.bytes_in = upload.received
            else:
                upload.check()
                body = self._streamed(exchange, upload)
            await self._judge_again(exchange)
        lease = self._take(exchange) or await self._wait(exchange)
        asked = time.perf_counter()
        try:
            incoming, error = await self._send(exchange, lease, body, asked)
            if incoming.status == 429 and request.method in _SAFE and self._pacer.in_time(*self._asks(exchange)):
                incoming.close()
                record.code = ""
                lease = await self._wait(exchange)
                self._emit(UpstreamRetry("rate_limited"))
                incoming, error = await self._send(exchange, lease, body, asked)
            # Productlane says by these that it did nothing, so even a write may be sent again: once.
            refused = incoming.status >= 400 and fault_of_answer(incoming.status, record.code)
            if refused and not isinstance(body, AsyncIterator) and await self._change_secret(exchange, incoming):
                # Another secret is another budget.
                lease = self._take(exchange) or await self._wait(exchange)
                incoming, error = await self._send(exchange, lease, body, asked)
        finally:
            if upload is not None:
                record.bytes_in = upload.received
        try:
            await self._relay(exchange, incoming, error)
        finally:
            incoming.close()

    async def _streamed(self, exchange: Exchange, upload: Upload) -> AsyncIterator[bytes]:
        """A body as it arrives. What arrives after a change of the configuration is judged by the new one."""
        async for piece in upload.pieces():
            await self._judge_again(exchange)
            yield piece
        await self._judge_again(exchange)

    def _at_hand(self, exchange: Exchange, body: Body) -> bytes | None:
        """A small body that has arrived before the configuration changed, so that it changes nothing for its request;
        None for another.
        """
        length, limits = exchange.request.length, exchange.serving.snapshot.settings.limits
        if length is None or not body.done or length > AT_ONCE or length > limits.body[exchange.permit.lane]:
            return None
        if exchange.serving is not self._current.serving:
            return None
        exchange.record.bytes_in = length
        return body.take()

    def _upload(self, exchange: Exchange, body: Body) -> Upload:
        """The caller's body, unread. Raises `Refused` where it is stated to be too large."""
        snapshot, lane = exchange.serving.snapshot, exchange.permit.lane
        request = exchange.request
        return Upload(
            body,
            request.length,
            exchange.reply.connection.ask_for_body if request.awaits_continue else None,
            limit=snapshot.settings.limits.body[lane],
            rate=snapshot.settings.limits.body_rate,
            idle_timeout=snapshot.settings.upstream.idle_timeout,
            lane=lane.value,
        )

    def _take(self, exchange: Exchange) -> Lease | None:
        ask = exchange.permit.ask
        return self._pacer.take(exchange.chosen, ask.endpoint.lane, ask.policy)

    async def _wait(self, exchange: Exchange) -> Lease:
        """Wait for rate budget of a secret that has none left now. Raises `Refused`."""
        began = time.perf_counter()
        try:
            lease = await self._pacer.wait(*self._asks(exchange))
        finally:
            record = exchange.record
            record.wait_ms = round(record.wait_ms + (time.perf_counter() - began) * 1000, 3)
        try:
            await self._judge_again(exchange)
        except BaseException:
            lease.released()
            raise
        return lease

    def _asks(self, exchange: Exchange) -> tuple[Chosen, Lane, Policy, Pacing, str, float]:
        """What a request that waits for budget is, as `Pacer.wait` takes it."""
        permit, pacing = exchange.permit, exchange.serving.snapshot.settings.pacing
        prefer = exchange.request.fields.get("Prefer", "")
        return exchange.chosen, permit.lane, permit.policy, pacing, prefer, exchange.record.wait_ms / 1000

    async def _send(
        self, exchange: Exchange, lease: Lease, body: bytes | AsyncIterator[bytes] | None, asked: float
    ) -> tuple[Incoming, bytes]:
        """The answer, once its head has come and its rate limits have been noted; of an error, its body as well."""
        record, request, chosen, serving = exchange.record, exchange.request, exchange.chosen, exchange.serving
        ask = exchange.permit.ask
        serving.keyring.used(chosen)
        timed = True
        try:
            incoming = await serving.upstream.send(
                Outgoing(
                    request.method,
                    ask.target.below_base.encode("utf-8", "surrogateescape"),
                    request.lines,
                    upstream_lines(chosen.secret),
                    body,
                    request.length,
                    record.trace or None,
                    lease.sent,
                    ask.policy.caller,
                )
            )
        except BaseException as failure:
            lease.failed()
            timed = not (isinstance(failure, Refused) and failure.code in _NOT_ASKED)
            raise
        finally:
            if timed:
                record.upstream_ms = round((time.perf_counter() - asked) * 1000, 3)
        exchange.budget = lease.answered(incoming.status, incoming.head.read)
        record.upstream_request_id = read_request_id(incoming.head.first(b"x-request-id"))
        if incoming.status < 400:
            return incoming, b""
        return incoming, await self._error(exchange, incoming)

    async def _error(self, exchange: Exchange, incoming: Incoming) -> bytes:
        """Read the body of an error answer and report the answer to the keyring."""
        record, chosen = exchange.record, exchange.chosen
        try:
            error = await read_error(incoming)
        except BaseException:
            incoming.close()
            raise
        record.code = error_code(error, incoming.status)
        exchange.serving.keyring.answered(chosen, incoming.status, record.code)
        if incoming.status == 403 and record.code == "scope_required":
            self._misses.look(error, exchange.permit.endpoint, chosen.key)
        return error

    async def _change_secret(self, exchange: Exchange, incoming: Incoming) -> bool:
        """Take another secret of the key to send a refused request with, if there is one; its answer is let go then."""
        try:
            other = await exchange.serving.keyring.another(exchange.chosen)
        except BaseException:
            incoming.close()
            raise
        if other is None:
            return False
        incoming.close()
        self._emit(UpstreamRetry("key"))
        exchange.chosen, record = other, exchange.record
        record.key, record.slot, record.code = other.key, other.slot, ""
        return True

    async def _relay(self, exchange: Exchange, incoming: Incoming, error: bytes) -> None:
        record, reply, head = exchange.record, exchange.reply, incoming.head
        secrets = exchange.serving.keyring.secrets.including(exchange.chosen.secret)
        lines = head.lines
        if record.endpoint == ME:
            error = await read_identity(incoming, error, secrets)
        if incoming.status >= 400 and fault_of_answer(incoming.status, record.code):
            lines = [*lines, field_lines(key_fault_fields(exchange, incoming))]
        crossing, reason = secrets.redact_lines(lines), secrets.hide(head.reason)
        ours = _OUR_LINES % (record.request_id.encode(), exchange.budget)
        if exchange.limits:
            ours = b"%b\r\n%b" % (ours, exchange.limits)
        block = b"%b\r\n%b" % (crossing, ours) if crossing else ours
        record.source, record.status = "upstream", incoming.status
        reply.closes = self._current.draining
        if incoming.whole and not incoming.bodiless:
            body = secrets.hide(error + incoming.rest())
            incoming.close()
            await reply.whole(incoming.status, block, body, reason=reason)
            return
        reply.begin(incoming.status, block, head.length, reason=reason)
        mask = secrets.mask()
        try:
            await relay(incoming, reply, mask.feed(error), mask)
        except Lost as lost:
            record.code, record.note = lost.fault.code.value, lost.note
            self._emit(UpstreamFailure(lost.fault.value))
            if lost.limit is not None:
                self._emit(LimitReached(lost.limit))
            reply.abort()
        except BaseException:
            reply.abort()
            raise
