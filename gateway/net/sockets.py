"""Sockets that listen: on a host and a port, or at a path."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.net.listen_address import Address

_BACKLOG: Final = 1024
# A unix socket is for its owner and its group; in a pod, `fsGroup` is the group that both containers have.
_UNIX_UMASK: Final = 0o117
# Seconds in which a process that listens at a path answers a probe.
_PROBE: Final = 1.0


class CannotStart(Exception):
    """The process is not fit to hold keys, or an address is not available. The text gives the reason in one line."""


async def listen(factory: Callable[[], asyncio.Protocol], address: Address, name: str) -> asyncio.Server:
    """A socket that is open and listens. Raises `CannotStart`."""
    loop = asyncio.get_running_loop()
    try:
        if address.path is None:
            return await loop.create_server(factory, address.host, address.port, backlog=_BACKLOG, reuse_address=True)
        at = await asyncio.to_thread(_at_path, address.path)
        return await loop.create_unix_server(factory, sock=at, backlog=_BACKLOG)
    except OSError as error:
        raise CannotStart(f"the {name} listener cannot listen on {address}: {error.strerror or error}") from None


def _at_path(path: Path) -> socket.socket:
    """A socket at a path. Replaces a socket that no process listens at. Raises `OSError`."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PROBE)
                if probe.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT):
                    raise OSError(errno.EADDRINUSE, "another process listens at it")
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        # Nobody can connect before the mode is right. Others who made a file at this moment would get it too.
        before = os.umask(_UNIX_UMASK)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
    except BaseException:
        made.close()
        raise
    return made


def bound(asked: Address, server: asyncio.Server) -> Address:
    """The address in use, with the port that the system chose where 0 was asked for."""
    return asked if asked.path is not None else Address(asked.host, int(server.sockets[0].getsockname()[1]))


def has_arrived(channel: socket.socket) -> bool:
    """Whether something has arrived on a connection, its end included, that nobody has read yet. One system call."""
    with contextlib.suppress(BlockingIOError):
        with contextlib.suppress(ConnectionError):
            channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return True
    return False
