"""Asks the admin listeners of running gateways for their status: one, or every replica behind a name."""

import http.client
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.telemetry.status import Status

TIMEOUT: Final = 5.0
# The status of a gateway with 5,000 callers is 10 MB.
_LONGEST: Final = 64 << 20
_AT_ONCE: Final = 32


class BadAddress(ValueError):
    """It is not the address of an admin listener. The text says what would be."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one replica answered; ``status`` is None where it did not, and ``fault`` says why."""

    replica: str
    status: Status | None
    fault: str = ""


def ask_all(addresses: Iterable[str]) -> list[Answered]:
    """Ask every replica at every address, side by side. A name stands for all that it resolves to.

    Raises `BadAddress`.
    """
    places = [_parsed(address) for address in addresses]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        targets = [target for found in pool.map(_targets, places) for target in found]
        return list(pool.map(_ask, targets))


@dataclass(frozen=True, slots=True)
class _Target:
    """An address to ask: a unix socket's path, or a host (a name or a number) and a port."""

    host: str
    port: int
    path: str = ""
    fault: str = ""

    @property
    def name(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parsed(address: str) -> _Target:
    if address.startswith("unix:"):
        return _Target("localhost", 80, path=address.removeprefix("unix:").removeprefix("//"))
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme not in ("", "http") or parts.path not in ("", "/"):
        raise BadAddress(f"{address!r} is not an admin listener's address, such as http://gateway-headless:9090")
    return _Target(host, port or 9090)


def _targets(target: _Target) -> Iterator[_Target]:
    """One for each address of the name. A pod with both kinds of address is one replica, so IPv4 alone counts there."""
    if target.path:
        yield target
        return
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield _Target(target.host, target.port, fault=f"the name does not resolve: {error.strerror}")
        return
    addresses = one_kind((family, str(place[0])) for family, _, _, _, place in found)
    yield from (_Target(address, target.port) for address in addresses)


def one_kind(found: Iterable[tuple[int, str]]) -> list[str]:
    """Of pairs of address family and address the addresses that stand for a replica each: IPv4, or else all others."""
    found = list(found)
    kinds = {kind for kind, _ in found}
    return list(
        dict.fromkeys(address for kind, address in found if kind == socket.AF_INET or socket.AF_INET not in kinds)
    )


def _ask(target: _Target) -> Answered:
    if target.fault:
        return Answered(target.name, None, target.fault)
    connection = (
        _Unix(target.path) if target.path else http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT)
    )
    try:
        connection.request("GET", "/status.json", headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(_LONGEST)
        if response.status != 200:
            return Answered(target.name, None, f"status {response.status}")
        return Answered(target.name, msgspec.json.decode(body, type=Status))
    except TimeoutError:
        return Answered(target.name, None, f"no answer within {TIMEOUT:g} s")
    except OSError as error:
        return Answered(target.name, None, error.strerror or type(error).__name__)
    except (http.client.HTTPException, msgspec.MsgspecError, ValueError):
        return Answered(target.name, None, "the answer is not a gateway's status")
    finally:
        connection.close()


class _Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)
