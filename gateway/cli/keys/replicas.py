"""Asks the admin listeners of running gateways for their status: one, or every replica behind a name."""

import http.client
import os
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True, slots=True)
class Asked:
    """All that answered, each process once, and all that did not.

    ``expected`` is how many replicas there are: as somebody said, or as many as a name resolves to, where that is more
    than one. It is None where nothing says it: the one address of a Service stands for any number.
    """

    answers: tuple[Answered, ...]
    expected: int | None = None

    @property
    def replicas(self) -> tuple[str, ...]:
        return tuple(one.replica for one in self.answers if one.status is not None)

    @property
    def silent(self) -> tuple[Answered, ...]:
        return tuple(one for one in self.answers if one.status is None)

    @property
    def doubt(self) -> str:
        """Why it is not certain that every replica answered, as the end of a sentence; empty where it is."""
        if self.silent:
            return f"{len(self.silent)} of {len(self.answers)} replicas did not answer; ask again"
        if self.expected is None:
            known = f"nothing says that {', '.join(self.replicas)} is all there is"
            return f"{known}; give --replicas, or --admin with the name of a headless Service"
        if len(self.replicas) < self.expected:
            return f"{len(self.replicas)} of {self.expected} replicas were asked; name the others with --admin"
        return ""


def ask_all(addresses: Iterable[str], *, token: str = "", replicas: int | None = None) -> Asked:
    """Ask every replica at every address, side by side. A name stands for all that it resolves to.

    ``token`` is what the status asks for beyond loopback, ``replicas`` how many there are. Raises `BadAddress`.
    """
    places = [_parsed(address) for address in addresses]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        resolved = [list(found) for found in pool.map(_targets, places)]
        targets = [target for found in resolved for target in found]
        answers = list(pool.map(lambda target: _ask(target, token), targets))
    # Two addresses of one process are one replica.
    once = {(one.status and one.status.instance) or one.replica: one for one in answers}
    if replicas is None and any(len(found) > 1 for found in resolved):
        replicas = len(once)
    return Asked(tuple(once.values()), replicas)


def nobody_answered(asked: Asked) -> str:
    """Why no gateway was heard, one a line, and what to do."""
    lines = [f"{one.replica} did not answer: {one.fault}" for one in asked.silent]
    return "\n".join([*lines, "start the gateway, or name its admin listener by --admin"])


def status_token() -> str:
    """The token for the status of other hosts, from the environment; empty where none is set. Raises `BadAddress`."""
    source = os.environ.get("PRODUCTLANE_GATEWAY_STATUS_TOKEN", "")
    kind, _, name = source.partition(":")
    try:
        if kind == "file":
            return Path(name).read_text("utf-8").strip()
        return os.environ[name] if kind == "env" else {"": ""}[kind]
    except (KeyError, OSError, UnicodeDecodeError):
        raise BadAddress("PRODUCTLANE_GATEWAY_STATUS_TOKEN must be file:/path or env:NAME of the token") from None


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


def _ask(target: _Target, token: str) -> Answered:
    if target.fault:
        return Answered(target.name, None, target.fault)
    connection = (
        _Unix(target.path) if target.path else http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT)
    )
    try:
        fields = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request("GET", "/status.json", headers=fields)
        response = connection.getresponse()
        body = response.read(_LONGEST)
        if response.status == 403:
            return Answered(
                target.name, None, "it asks for `status_token` from other hosts; set PRODUCTLANE_GATEWAY_STATUS_TOKEN"
            )
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
