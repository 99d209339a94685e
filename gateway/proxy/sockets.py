"""Sockets that listen: on a host and a port, or at a path."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.config.snapshot import Address

_BACKLOG: Final = 1024
# A unix socket is for its owner and its group; in a pod, `fsGroup` is the group that both containers have.
_SOCKET_MODE: Final = 0o660


class CannotStart(Exception):
    """The process is not fit to hold keys, or an address is not to be had. The text is one line that says why."""


async def listen(
    factory: Callable[[], asyncio.Protocol], address: Address, name: str, **options: Any
) -> asyncio.Server:
    """A socket that is open and listens. ``options`` are those of TLS. Raises `CannotStart`."""
    loop = asyncio.get_running_loop()
    try:
        if address.path is None:
            return await loop.create_server(
                factory, address.host, address.port, backlog=_BACKLOG, reuse_address=True, **options
            )
        server = await loop.create_unix_server(factory, str(address.path), backlog=_BACKLOG, **options)
        await asyncio.to_thread(Path(address.path).chmod, _SOCKET_MODE)
    except OSError as error:
        raise CannotStart(f"the {name} listener cannot listen on {address}: {error.strerror}") from None
    return server


def bound(asked: Address, server: asyncio.Server) -> Address:
    """The address in use, with the port that the system chose where 0 was asked for."""
    return asked if asked.path is not None else Address(asked.host, int(server.sockets[0].getsockname()[1]))
