"""New connections to the upstream: its name resolved, its addresses tried as RFC 8305 says, TLS made."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from aiohappyeyeballs import start_connection

from gateway.core.field_rules import Rules
from gateway.net.addresses import PATIENCE, Address
from gateway.net.faults import network_fault
from gateway.net.resolver import Names, Unresolved, family_of, place_of
from gateway.proxy.lost import Lost
from gateway.proxy.upstream_connection import UpstreamConnection

# RFC 8305 section 8: how long one address is waited for before the next is tried beside it.
_NEXT_ADDRESS: Final = 0.25


class Connector:
    """Connects to one host and port within ``timeout`` seconds, over TLS where there is a context."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, names: Names, timeout: float, rules: Rules
    ) -> None:
        self.host: Final = host
        self.port: Final = port
        self._tls: Final = tls
        self._names: Final = names
        self._timeout: Final = timeout
        self._rules: Final = rules
        self._patience: Final = min(PATIENCE, timeout / 2)
        self._loop: Final = asyncio.get_running_loop()

    def keep_name(self) -> None:
        """The name is in use, so that its addresses are kept fresh."""
        self._names.keep(self.host)

    async def connect(self) -> UpstreamConnection:
        """Raises `Lost`."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect_to(await self._names.find(self.host, self._patience))
        except Unresolved as failure:
            fault = network_fault(failure, connecting=True)
            raise Lost(fault, f"the upstream's name does not resolve: {failure.why}", connected=False) from None
        except (OSError, TimeoutError) as failure:
            fault = network_fault(failure, connecting=True)
            raise Lost(fault, f"connecting to the upstream failed: {fault.why}", connected=False) from None

    async def _connect_to(self, addresses: Sequence[Address]) -> UpstreamConnection:
        """Race them as RFC 8305 says, and go on with the first one that is there."""
        tcp = socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
        places = [(family_of(one), *tcp, place_of(one, self.port)) for one in addresses]
        # They are in their order already, the families in turn.
        channel = await start_connection(places, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=0, loop=self._loop)
        at = 0
        try:
            peer = channel.getpeername()
            at = next((at for at, place in enumerate(places) if place[4] == peer), 0)
            _, connection = await self._loop.create_connection(
                lambda: UpstreamConnection(self._loop, channel, self._rules),
                sock=channel,
                ssl=self._tls,
                server_hostname=self.host if self._tls else None,
            )
        except BaseException:
            channel.close()
            self._names.avoid(self.host, addresses[: at + 1])
            raise
        self._names.avoid(self.host, addresses[:at])
        return connection
