"""The TLS of the traffic listener, whose files may change while it serves."""

import contextlib
import ssl
from typing import Final

from gateway.config.schema.gateway import Tls
from gateway.config.tls import listener_context
from gateway.net.certificates import not_after


class ListenerTls:
    """``context`` is for the server, once; each handshake uses the files as `reload` last found them good.

    Raises `BadTls` where they are not good to begin with. ``expires`` is when the certificate in use ceases to be valid
    (Unix time), None where that cannot be read.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls: Final = tls
        self._latest = self.context = listener_context(tls)
        self.expires = _expires(tls)
        # Called in every handshake, with a server name in it or not. Loading new files into a context that serves
        # would leave half of them in use where the other half is bad.
        self.context.sni_callback = self._use_latest

    def reload(self) -> None:
        """Read the files again, for new connections. Raises `BadTls`; what was good then stays."""
        self._latest = listener_context(self._tls)
        self.expires = _expires(self._tls)

    def _use_latest(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._latest


def _expires(tls: Tls) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        return not_after(tls.certificate.read_text("utf-8", "replace"))
    return None
