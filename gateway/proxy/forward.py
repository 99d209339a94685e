"""An allowed request goes upstream with its key, and the answer comes back, streamed."""

import json
import time
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.budgets.pacing import Lease, Pacer
from gateway.core.budget import Budget
from gateway.core.catalog import Endpoint, Lane
from gateway.core.headers import request_headers, response_headers
from gateway.core.key_faults import KEY_FAULTS, default_code, fault_of_answer, fault_of_status
from gateway.core.policy import Policy
from gateway.core.refusal import Code, Reason, Refused, proxy_status
from gateway.core.secret import Mask
from gateway.core.target import Target
from gateway.keys.keyring import Chosen
from gateway.proxy.body import Body
from gateway.proxy.catalog_misses import CatalogMisses
from gateway.proxy.connection import Lost
from gateway.proxy.reply import Reply
from gateway.proxy.serving import Current, Serving
from gateway.proxy.upstream import Incoming, Outgoing, refusal
from gateway.telemetry.events.peers import UpstreamRetry
from gateway.telemetry.record import Record, read_request_id
from gateway.telemetry.reporter import Reporter

# An error answer is read whole up to this size, so that its code is known; Productlane's are under 1 kB.
_MAX_ERROR: Final = 65_536

# Nobody was asked.
_NOT_ASKED: Final = frozenset({Code.OVERLOADED, Code.CIRCUIT_OPEN})


class Forwarder:
    """Sends requests on and relays answers."""

    def __init__(self, reporter: Reporter, current: Current, pacer: Pacer) -> None:
        self._emit: Final = reporter.emit
        self._metrics: Final = reporter.metrics
        self._current: Final = current
        self._pacer: Final = pacer
        self._misses: Final = CatalogMisses(reporter.emit)

    async def forward(
        self,
        request: web.BaseRequest,
        serving: Serving,
        target: Target,
        endpoint: Endpoint,
        policy: Policy,
        chosen: Chosen,
        record: Record,
    ) -> Reply:
        """The upstream's answer, streamed or ready to be sent. Raises `Refused` where there is none to relay.

        A request that waits for budget holds no connection to the upstream, and its body is not read.
        """
        lane = endpoint.lane
        source = self._source(request, serving, lane, record)
        lease = self._pacer.take(chosen, lane, policy) or await self._wait(serving, chosen, lane, policy, record)
        try:
            body, length = (None, None) if source is None else (await source.open(), source.length)
        except BaseException:
            lease.released()
            raise
        asked = time.perf_counter()

        async def send(chosen: Chosen, lease: Lease) -> tuple[Incoming, bytes]:
            record.key, record.slot, record.code = chosen.key, chosen.slot, ""
            fields = request_headers(request.headers.items(), chosen.secret, traced=record.trace is not None)
            serving.keyring.used(chosen)
            timed = True
            try:
                outgoing = Outgoing(target.method, target.below_base, fields, body, length, record.trace, lease.sent)
                incoming = await self._send(serving, outgoing, chosen, lease, record)
            except Refused as refused:
                timed = refused.code not in _NOT_ASKED
                raise
            finally:
                if timed:
                    record.upstream_ms = (time.perf_counter() - asked) * 1000
            if incoming.status < 400:
                return incoming, b""
            return incoming, await self._error(serving, incoming, endpoint, chosen, record)

        incoming, error = await send(chosen, lease)
        if fault_of_status(incoming.status) and not isinstance(body, AsyncIterator):
            # Productlane says by these that it did nothing, so even a write may be sent again: once.
            other = await self._other(serving, incoming, chosen)
            if other is not None:
                chosen = other
                # Another secret is another budget.
                lease = self._pacer.take(chosen, lane, policy) or await self._wait(
                    serving, chosen, lane, policy, record
                )
                incoming, error = await send(chosen, lease)
        try:
            return await self._relay(request, serving, incoming, error, chosen, record)
        finally:
            incoming.close()

    def _source(self, request: web.BaseRequest, serving: Serving, lane: Lane, record: Record) -> Body | None:
        """The caller's body, of which nothing has been read yet."""
        if request.method in ("GET", "HEAD"):
            return None
        limits, idle = serving.snapshot.settings.limits, serving.snapshot.settings.upstream.idle_timeout
        return Body(request, record, limit=limits.body[lane], idle_timeout=idle)

    async def _wait(self, serving: Serving, chosen: Chosen, lane: Lane, policy: Policy, record: Record) -> Lease:
        """Rate budget of the secret, of which there is none now. Raises `Refused`."""
        began = time.perf_counter()
        try:
            return await self._pacer.wait(chosen, lane, policy, serving.snapshot.settings.pacing)
        finally:
            record.wait_ms += (time.perf_counter() - began) * 1000

    async def _send(
        self, serving: Serving, outgoing: Outgoing, chosen: Chosen, lease: Lease, record: Record
    ) -> Incoming:
        """The answer, once its head has come and its rate limits have been noted."""
        try:
            incoming = await serving.upstream.send(outgoing)
        except BaseException:
            lease.failed()
            raise
        headers = CIMultiDict(incoming.fields)
        reading = Budget.read(headers)
        lease.answered(incoming.status, headers)
        if reading is not None:
            self._metrics.budget(
                chosen.key, record.lane, limit=reading.limit, remaining=reading.remaining, reset=reading.reset
            )
        record.upstream_request_id = read_request_id(headers.get("X-Request-Id"))
        return incoming

    async def _error(
        self, serving: Serving, incoming: Incoming, endpoint: Endpoint, chosen: Chosen, record: Record
    ) -> bytes:
        """The body of an error answer, of which the keyring is told."""
        try:
            error = await _read_error(incoming)
        except BaseException:
            incoming.close()
            raise
        record.code = error_code(error, incoming.status)
        serving.keyring.answered(chosen, incoming.status, record.code)
        if incoming.status == 403 and record.code == "scope_required":
            self._misses.look(error, endpoint, chosen.key)
        return error

    async def _other(self, serving: Serving, incoming: Incoming, chosen: Chosen) -> Chosen | None:
        """Another secret of the key to send a refused request with, the answer to it being let go; None for none."""
        try:
            other = await serving.keyring.another(chosen)
        except BaseException:
            incoming.close()
            raise
        if other is not None:
            incoming.close()
            self._emit(UpstreamRetry("key"))
        return other

    async def _relay(
        self,
        request: web.BaseRequest,
        serving: Serving,
        incoming: Incoming,
        error: bytes,
        chosen: Chosen,
        record: Record,
    ) -> Reply:
        fields, length = response_headers(incoming.fields), incoming.length
        if fault_of_status(incoming.status):
            fields += self._judge_error(serving, incoming, chosen, record)
        fields = chosen.secret.redact_fields(fields)
        record.source, record.status = "upstream", incoming.status
        reason = chosen.secret.redact(incoming.reason)
        if incoming.whole and not incoming.bodiless:
            body = chosen.secret.hide(error + incoming.rest())
            return Reply(incoming.status, fields, reason=reason, body=body)
        reply = Reply(incoming.status, fields, reason=reason, length=length)
        reply.patience = serving.snapshot.settings.upstream.idle_timeout
        if self._current.draining:
            reply.close()
        reply.begin(request)
        mask = chosen.secret.mask()
        await self._stream(incoming, reply, mask.feed(error), mask, record)
        return reply

    def _judge_error(
        self, serving: Serving, incoming: Incoming, chosen: Chosen, record: Record
    ) -> list[tuple[str, str]]:
        """The fields that say of a refused key that it is the gateway's; none for another answer.

        Raises `Refused` where ``key_errors: translate`` keeps such an answer from the caller.
        """
        fault = fault_of_answer(incoming.status, record.code)
        if fault is None:
            return []
        note = f"Productlane answered {incoming.status} to key {chosen.key}, slot {chosen.slot}, not to the caller"
        if serving.snapshot.settings.upstream.key_errors == "translate":
            row = KEY_FAULTS[fault]
            raise Refused(row.code, Reason.KEY_REFUSED, row.message, note=f"{note}; {row.cure}")
        record.note = note
        return [("Proxy-Status", proxy_status("", note, received=incoming.status))]

    async def _stream(self, incoming: Incoming, reply: Reply, begin: bytes, mask: Mask, record: Record) -> None:
        """Relay a body as it comes. What is cut short, by whomever, is cut so that the caller can see it."""
        try:
            if begin:
                await reply.write(begin)
            elif not incoming.whole:
                reply.flush()
            while piece := await incoming.read():
                await reply.write(mask.feed(piece))
            await reply.write(mask.rest())
        except Lost as lost:
            record.code, record.note = refusal(lost).code.value, lost.note
            reply.abort()
        except BaseException:
            reply.abort()
            raise
        finally:
            record.bytes_out = reply.bytes_out


async def _read_error(incoming: Incoming) -> bytes:
    """The body of an error answer, or its beginning where it is larger than any of Productlane's.

    Raises `Refused` where it is cut short: nothing has been sent to the caller yet, so it can be told in full.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        while size < _MAX_ERROR and (piece := await incoming.read()):
            pieces.append(piece)
            size += len(piece)
    except Lost as lost:
        raise refusal(lost) from None
    return b"".join(pieces)


def error_code(body: bytes, status: int) -> str:
    """``error.code`` of Productlane's envelope; for another body, what its page on errors says of the status."""
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        code = None
    if isinstance(code, str):
        return code
    return default_code(status)
