"""Ports of loopback for programs that must be told one: nothing else on this machine comes to listen there.

A port that the kernel chose is free only until the next program asks for any port, and the tests do so all the time.
These are from below the range that the kernel chooses from (Linux: ``ip_local_port_range``, 32768 and up), and a lock
that lasts as long as this process keeps them from test runs beside it.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_RANGE = range(20_000, 32_000)
_LOCKS = Path(tempfile.gettempdir()) / f"productlane-gateway-ports-{os.getuid()}"


def free_ports(count: int) -> list[int]:
    """So many ports without a listener, which this function gives to nobody else until this process ends."""
    return [next(_untaken) for _ in range(count)]


def free_port() -> int:
    """One such port."""
    return next(_untaken)


def _search() -> Iterator[int]:
    _LOCKS.mkdir(exist_ok=True)
    # Another order in each process, so that they seldom ask for the same one.
    for port in random.SystemRandom().sample(_RANGE, len(_RANGE)):
        if _locked(port) and _is_silent(port):
            yield port


def _locked(port: int) -> bool:
    """Take the lock of a port for as long as this process lives; whether nobody else has it."""
    # The lock lasts as long as the descriptor, which nothing closes and no program that a test starts inherits.
    lock = os.open(_LOCKS / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True


def _is_silent(port: int) -> bool:
    """Whether nobody listens on a port, on any address."""
    with socket.socket() as tried:
        # As the servers do: connections of a listener that has ended do not count.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True


_untaken = _search()
