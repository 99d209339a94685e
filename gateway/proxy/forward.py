"""An allowed request goes upstream with its key, and the answer comes back, streamed."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.core.budget import Budget
from gateway.core.catalog import Lane
from gateway.core.headers import request_headers, response_headers
from gateway.core.refusal import Code, Reason, Refused, proxy_status
from gateway.core.secret import Mask
from gateway.core.target import Target
from gateway.keys.keyring import Chosen
from gateway.proxy.body import Body
from gateway.proxy.connection import Lost
from gateway.proxy.reply import Reply
from gateway.proxy.serving import Current, Serving
from gateway.proxy.upstream import Incoming, Outgoing, refusal
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import Record, read_request_id

# An error answer is read whole up to this size, so that its code is known; Productlane's are under 1 kB.
_MAX_ERROR: Final = 65_536

# What only the owner of the keys can mend: a caller that is told 401 would look for the fault in its own credential.
_KEY_FAULTS: Final = {
    (401, "unauthenticated"): Code.UPSTREAM_KEY_REJECTED,
    (410, "unsupported_key_version"): Code.UPSTREAM_KEY_UNSUPPORTED,
}


class Forwarder:
    """Sends requests on and relays answers."""

    def __init__(self, metrics: Metrics, current: Current) -> None:
        self._metrics: Final = metrics
        self._current: Final = current

    async def forward(
        self, request: web.BaseRequest, serving: Serving, target: Target, lane: Lane, chosen: Chosen, record: Record
    ) -> Reply:
        """The upstream's answer, streamed or ready to be sent. Raises `Refused` where there is none to relay."""
        body: bytes | AsyncIterator[bytes] | None = None
        length: int | None = None
        if request.method not in ("GET", "HEAD"):
            limits, idle = serving.snapshot.limits, serving.snapshot.upstream.idle_timeout
            source = Body(request, record, limit=limits.body[lane], idle_timeout=idle)
            body, length = await source.open(), source.length
        fields = request_headers(request.headers.items(), chosen.secret)
        serving.keyring.used(chosen)
        asked = time.perf_counter()
        try:
            incoming = await serving.upstream.send(Outgoing(target.method, target.below_base, fields, body, length))
        finally:
            record.upstream_ms = (time.perf_counter() - asked) * 1000
        try:
            return await self._relay(request, serving, incoming, chosen, record)
        finally:
            incoming.close()

    async def _relay(
        self, request: web.BaseRequest, serving: Serving, incoming: Incoming, chosen: Chosen, record: Record
    ) -> Reply:
        headers = CIMultiDict(incoming.fields)
        self._note_budget(headers, chosen, record)
        record.upstream_request_id = read_request_id(headers.get("X-Request-Id"))
        fields, length = response_headers(incoming.fields), incoming.length
        mask, begin = chosen.secret.mask(), b""
        if incoming.status >= 400:
            error = await _read_error(incoming)
            fields += self._judge_error(serving, incoming, error, chosen, record)
            begin = mask.feed(error)
        fields = [(name, chosen.secret.redact(value)) for name, value in fields]
        record.source, record.status = "upstream", incoming.status
        reason = chosen.secret.redact(incoming.reason)
        if incoming.whole and not incoming.bodiless:
            body = begin + mask.feed(await incoming.read()) + mask.rest()
            return Reply(incoming.status, fields, reason=reason, body=body)
        reply = Reply(incoming.status, fields, reason=reason, length=length)
        reply.patience = serving.snapshot.upstream.idle_timeout
        if self._current.draining:
            reply.close()
        await reply.prepare(request)
        await self._stream(incoming, reply, begin, mask, record)
        return reply

    def _note_budget(self, headers: Mapping[str, str], chosen: Chosen, record: Record) -> None:
        budget = Budget.read(headers)
        if budget is not None:
            self._metrics.budget(
                chosen.key, record.lane, limit=budget.limit, remaining=budget.remaining, reset=budget.reset
            )

    def _judge_error(
        self, serving: Serving, incoming: Incoming, body: bytes, chosen: Chosen, record: Record
    ) -> list[tuple[str, str]]:
        """Tell the keyring, and say of a refused key that it is the gateway's; returns the fields that say so.

        Raises `Refused` where ``key_errors: translate`` keeps such an answer from the caller.
        """
        record.code = error_code(body, incoming.status)
        serving.keyring.answered(chosen, incoming.status, record.code)
        fault = _KEY_FAULTS.get((incoming.status, record.code))
        if fault is None:
            return []
        note = f"Productlane answered {incoming.status} to key {chosen.key}, slot {chosen.slot}, not to the caller"
        if serving.snapshot.upstream.key_errors == "translate":
            sentence = "Productlane does not accept the key that serves this request."
            raise Refused(fault, Reason.KEY_REFUSED, sentence, note=note)
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
    return {401: "unauthenticated", 410: "unsupported_key_version"}.get(status, "")
