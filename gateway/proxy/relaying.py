"""How answers are read: bodies relayed as they come, those of errors whole, and what they say of the gateway's key."""

import json
from typing import Final

from gateway.core.envelope import proxy_status
from gateway.core.key_faults import default_code, fault_of_answer
from gateway.core.network_faults import MESSAGES
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.secret import HeldSecrets, Mask
from gateway.proxy.exchange import Exchange
from gateway.proxy.lost import Lost
from gateway.proxy.reply import Reply
from gateway.proxy.upstream_messages import Incoming, refusal

# An error answer is read whole up to this size, so that its code is known; Productlane's are under 1 kB.
_MAX_ERROR: Final = 65_536
ME: Final = "GET /me"


async def relay(incoming: Incoming, reply: Reply, begin: bytes, mask: Mask) -> None:
    """Relay a body as it comes. What is cut short, by whomever, is cut so that the caller can see it."""
    if begin:
        await reply.write(begin)
    elif not incoming.whole:
        reply.flush()
    while piece := await incoming.read():
        await reply.write(mask.feed(piece))
    await reply.write(mask.rest())
    await reply.end()


async def read_error(incoming: Incoming) -> bytes:
    """The body of an error answer, or its beginning where it is larger than any of Productlane's.

    Raises `Refused` if it is cut short. Nothing has reached the caller yet, so it can get a complete refusal.
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


async def read_identity(incoming: Incoming, begun: bytes, secrets: HeldSecrets) -> bytes:
    """The body of an answer to ``GET /me``, which describes the key itself. ``begun`` is what was read of it.

    Raises `Refused` where a key of this gateway is in it, spelt in JSON escapes, and where it is too large to tell.
    """
    body = begun + await read_error(incoming)
    if not incoming.whole or (b"\\u" in body and _holds_secret(body, secrets)):
        raise Refused(
            Code.UPSTREAM_BROKEN,
            Reason.UPSTREAM,
            MESSAGES[Code.UPSTREAM_BROKEN],
            note="the answer to GET /me repeats a key of this gateway, or is too large to be looked through",
        )
    return body


def _holds_secret(body: bytes, secrets: HeldSecrets) -> bool:
    try:
        return secrets.occur_in(json.loads(body))
    except (ValueError, RecursionError):
        return True


def error_code(body: bytes, status: int) -> str:
    """``error.code`` of Productlane's envelope; for another body, what its page on errors says of the status."""
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        code = None
    if isinstance(code, str):
        return code
    return default_code(status)


def key_fault_fields(exchange: Exchange, incoming: Incoming) -> list[tuple[str, str]]:
    """The fields that say of a refused key that it is the gateway's; none for another answer.

    Raises `Refused` where ``key_errors: translate`` keeps such an answer from the caller.
    """
    record, chosen = exchange.record, exchange.chosen
    fault = fault_of_answer(incoming.status, record.code)
    if fault is None:
        return []
    note = f"Productlane answered {incoming.status} to key {chosen.key}, slot {chosen.slot}, not to the caller"
    if exchange.serving.snapshot.settings.upstream.key_errors == "translate":
        record.translated = incoming.status
        raise Refused(
            fault.code, Reason.KEY_REFUSED, fault.message, note=note, fix=fault.cure, decided_by=f"key {chosen.key}"
        )
    record.note = note
    return [("Proxy-Status", proxy_status("", note, received=incoming.status))]
