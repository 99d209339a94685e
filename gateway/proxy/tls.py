"""The TLS of the traffic listener, whose files may change while it serves."""

import contextlib
import ssl
from typing import Final

from gateway.config.schema.gateway import Tls
from gateway.config.tls import listener_context
from gateway.net.certificates import validity


class ListenerTls:
    """``context`` is for the server, once; each handshake uses the files as `reload` last found them good.

    Raises `BadTls` where they are not good to begin with. ``validity`` is that of the certificate in use: the Unix
    times of its start and end, None if they cannot be read.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls: Final = tls
        self._latest = self.context = listener_context(tls)
        self.validity = _validity(tls)
        # Called in every handshake, with a server name in it or not. Loading new files into a context that serves
        # would leave half of them in use where the other half is bad.
        self.context.sni_callback = self._use_latest

    def reload(self) -> None:
        """Read the files again, for new connections. Raises `BadTls`; what was good then stays."""
        self._latest = listener_context(self._tls)
        self.validity = _validity(self._tls)

    def _use_latest(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._latest


def _validity(tls: Tls) -> tuple[float, float] | None:
    with contextlib.suppress(OSError, ValueError):
        return validity(tls.certificate.read_text("utf-8", "replace"))
    return None
