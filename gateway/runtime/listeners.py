"""The two listeners: where they listen, and the TLS of the one for traffic."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from typing import Final

from gateway.admin.pages import Pages
from gateway.config.schema.gateway import Gateway as Settings
from gateway.config.schema.gateway import Tls
from gateway.config.tls import BadTls
from gateway.net.listen_address import Address
from gateway.net.sockets import CannotStart, bound, listen
from gateway.proxy.handshakes import Handshakes
from gateway.proxy.listener import Listener
from gateway.proxy.tls import ListenerTls
from gateway.runtime.admin_listener import AdminListener
from gateway.runtime.process import descriptors
from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import DescriptorsShort

# Descriptors beside those of traffic: log, store, resolver, watched files, the admin listener and its connections.
_OTHER_FILES: Final = 128


class Listeners:
    """``traffic`` and ``admin`` are the addresses of the settings; once open, with the port that the system chose.

    ``tls`` is None where traffic is plain. Raises `CannotStart` where its files cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.traffic: Address = settings.listen
        self.admin: Address = settings.admin
        self.tls: Final = None if settings.tls is None else _tls(settings.tls)

    async def open_admin(self, pages: Pages, stack: AsyncExitStack, emit: Emit) -> None:
        """Serve the pages for operators until ``stack`` is closed. Raises `CannotStart`."""
        admin = AdminListener(pages, emit)
        stack.push_async_callback(pages.close)
        stack.push_async_callback(admin.finish)
        listening = await listen(admin, self.admin, "admin")
        stack.callback(listening.close)
        self.admin = bound(self.admin, listening)

    async def open_traffic(self, listener: Listener, stack: AsyncExitStack, emit: Emit) -> asyncio.Server:
        """Accept callers until what is returned is closed, or ``stack``. Raises `CannotStart`."""
        factory: Callable[[], asyncio.Protocol] = listener
        if self.tls is not None:
            factory = handshakes = Handshakes(listener, self.tls.context, emit)
            stack.callback(handshakes.stop)
        accepting = await listen(factory, self.traffic, "traffic")
        stack.callback(accepting.close)
        self.traffic = bound(self.traffic, accepting)
        return accepting

    def reload_tls(self, tls: Tls | None, changed: Collection[str]) -> bool:
        """Read the files of TLS again where one of them has changed; whether that was done. Raises `BadTls`."""
        if self.tls is None or tls is None:
            return False
        if {str(path) for path in (tls.certificate, tls.private_key, tls.client_ca)}.isdisjoint(changed):
            return False
        self.tls.reload()
        return True


def raise_descriptors(settings: Settings, emit: Emit) -> None:
    """See to it that each connection that the settings allow finds a descriptor; report where it cannot."""
    needed = settings.limits.connections + settings.upstream.max_connections + _OTHER_FILES
    limit = descriptors(needed)
    if limit < needed:
        reason = "raise the hard limit of open files (RLIMIT_NOFILE), or lower limits.connections"
        emit(DescriptorsShort(limit, needed, reason))


def _tls(tls: Tls) -> ListenerTls:
    if tls.client_ca is not None:
        # 20 ms that the first caller with a certificate would wait for.
        import gateway.callers.x509_svid  # noqa: F401
    try:
        return ListenerTls(tls)
    except BadTls as problem:
        raise CannotStart(f"tls.{problem.setting}: {problem}") from None
