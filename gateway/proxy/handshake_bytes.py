"""How much a caller may send before its TLS handshake is over: a chain of certificates costs four times its bytes."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

# ClientHello and certificates. Real chains have a few kB. OpenSSL accepts 100 kB and keeps four times the bytes.
MAX_HANDSHAKE: Final = 24_576
# In seconds. A handshake that ends with the bytes that reach the bound is seen to have ended by then.
_PATIENCE: Final = 0.05


class HandshakeBytes(asyncio.BufferedProtocol):
    """Stands between a transport and the protocol of its TLS until `end`; past `MAX_HANDSHAKE`, nothing more is read.

    What a caller sends behind its handshake may come in the same read. So ``too_long`` is called only where the
    handshake is still not over a moment later.
    """

    def __init__(self, transport: asyncio.Transport, begun: bytes, too_long: Callable[[], None]) -> None:
        self._transport: Final = transport
        self._left = MAX_HANDSHAKE
        self._too_long = too_long
        self._timer: asyncio.TimerHandle | None = None
        self._tls: Final = cast(asyncio.BufferedProtocol, transport.get_protocol())
        transport.set_protocol(self)
        memoryview(self.get_buffer(len(begun)))[: len(begun)] = begun
        self.buffer_updated(len(begun))

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._tls.get_buffer(sizehint))[: self._left]

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if not self._left:
            self._transport.pause_reading()
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._too_long)
        self._tls.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        return self._tls.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        self._tls.connection_lost(exc)

    def pause_writing(self) -> None:
        self._tls.pause_writing()

    def resume_writing(self) -> None:
        self._tls.resume_writing()

    def end(self) -> None:
        """The handshake is over: its protocol reads on by itself."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._transport.is_closing():
            self._transport.set_protocol(self._tls)
            if not self._left:
                self._transport.resume_reading()
