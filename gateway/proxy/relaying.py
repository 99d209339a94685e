"""How bodies of answers are read: relayed as they come, or, those of errors, read whole."""

import json
from typing import Final

from gateway.core.key_faults import default_code
from gateway.core.secret import Mask
from gateway.proxy.reply import Reply
from gateway.proxy.upstream_connection import Lost
from gateway.proxy.upstream_messages import Incoming, refusal

# An error answer is read whole up to this size, so that its code is known; Productlane's are under 1 kB.
_MAX_ERROR: Final = 65_536


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
