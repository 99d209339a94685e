"""What `Upstream.send` takes and gives."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.message import Framing, Head
from gateway.core.network_faults import FIXES, MESSAGES
from gateway.core.refusal import Reason, Refused
from gateway.proxy.lost import Lost
from gateway.proxy.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from gateway.telemetry.record import Trace


class Outgoing(msgspec.Struct, frozen=True):
    """A request for the upstream. ``target`` is below the base URL; ``lines`` are fields without Host and framing.

    ``own`` are the gateway's own fields, with their line breaks. ``body`` is bytes, or an iterator of bytes with
    ``length`` where it is known. With a ``trace``, each attempt is a span of its own, by whose ids the upstream can go
    on. ``on_sent`` is called just before each attempt.
    """

    method: str
    target: bytes
    lines: Sequence[bytes] = ()
    own: bytes = b""
    body: bytes | AsyncIterator[bytes] | None = None
    length: int | None = None
    trace: "Trace | None" = None
    on_sent: Callable[[], None] = lambda: None
    caller: str = ""


_NONE: Final = Framing.NONE


def refusal(lost: Lost) -> Refused:
    """The refusal that reports a failed exchange to the caller."""
    code = lost.fault.code
    fault, message, fix = lost.fault.value, MESSAGES[code], FIXES[code]
    return Refused(code, Reason.UPSTREAM, message, note=lost.note, fix=fix, proxy_error=fault, limit=lost.limit)


class Incoming:
    """An answer whose head has arrived. It must be closed; closing it early frees the upstream.

    ``caller`` is whose request it answers. ``bodiless`` tells that no body follows, as to HEAD, although ``head`` may
    state the length of one.
    """

    __slots__ = ("_connection", "_release", "bodiless", "caller", "head", "status")

    def __init__(
        self,
        connection: UpstreamConnection,
        head: Head,
        release: Callable[[UpstreamConnection, str], None],
        caller: str,
    ) -> None:
        self.head: Final = head
        self.status: Final = head.status
        self.bodiless: Final = head.framing is _NONE
        self.caller: Final = caller
        self._connection = connection
        self._release: Callable[[UpstreamConnection, str], None] | None = release

    @property
    def whole(self) -> bool:
        """Whether the body is complete, so that reading it does not wait."""
        return self._connection.complete

    async def read(self) -> bytes:
        """The next bytes of the body, ``b""`` at its end. Raises `Lost` where it is cut short."""
        return await self._connection.read()

    def rest(self) -> bytes:
        """What is left of a body that is `whole`."""
        return self._connection.take()

    def close(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self._connection, self.caller)
