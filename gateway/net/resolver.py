"""Looks names up. No request waits long for a slow resolver, and the end of the process does not wait at all.

A look-up cannot be cut short: getaddrinfo(3) blocks its thread, with glibc for 10 s and more. The loop's own look-ups
block a thread of the pool that libuv uses for everything else, and the end of the process waits for that pool. So each
look-up has a daemon thread of its own, and there are few of them.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.aio.single_flight import SingleFlight
from gateway.aio.threads import in_daemon_thread
from gateway.aio.waiting import finished
from gateway.core.recent import Recent
from gateway.net.addresses import PATIENCE, SILENT, Address, Entry
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.peers import NameLookup, NameResolves, NameUnresolved

Use = Literal["upstream", "issuer"]
Lookup: TypeAlias = Callable[..., Iterable[tuple[Any, ...]]]

# Threads that may be in a look-up at a time: enough that the next question can be answered while one hangs.
_THREADS: Final = 4
# Names that are remembered: an upstream has one, an issuer two, and a configuration that changes brings others.
_NAMES: Final = 16
# RFC 6761 section 6.3: this name is for the machine itself, and no resolver is asked.
_LOCALHOST: Final = (Address("127.0.0.1"), Address("::1"))

_FAILS: Final = "the look-up fails"
_NO_THREAD: Final = "no thread could be started for the look-up"
_NO_ADDRESS: Final = "the resolver knows no address of it"
_FAULTS: Final = {
    socket.EAI_NONAME: "the resolver knows no such name",
    getattr(socket, "EAI_NODATA", None): _NO_ADDRESS,  # not everywhere
    socket.EAI_AGAIN: "the resolver fails, or cannot be reached",
}


class Unresolved(OSError):
    """A name has no address, now or in the last hour. ``silent``: the resolver gave no answer."""

    def __init__(self, why: str, *, silent: bool) -> None:
        super().__init__(why)
        self.why: Final = why
        self.silent: Final = silent


class Names:
    """Looks names up in the background while they are used, and remembers their addresses. For one running loop.

    ``use`` says whose names they are: of the ``upstream`` or an ``issuer``. ``lookup`` takes the arguments of
    `socket.getaddrinfo` and blocks. ``emit`` gets each look-up, and when they begin to fail and succeed again.
    """

    def __init__(self, use: Use = "upstream", emit: Emit = ignore, *, lookup: Lookup = socket.getaddrinfo) -> None:
        self._use: Final = use
        self._emit: Final = emit
        self._lookup: Final = lookup
        self._entries: Final[Recent[str, Entry]] = Recent(_NAMES)
        self._flights: Final[SingleFlight[str, None]] = SingleFlight()
        self._threads = 0

    async def find(self, host: str, patience: float = PATIENCE) -> tuple[Address, ...]:
        """The addresses to try, in order, after ``patience`` seconds at most. Raises `Unresolved`."""
        if (fixed := _fixed(host)) is not None:
            return fixed
        loop = asyncio.get_running_loop()
        entry = self._entry(host)
        if (flight := self._plan(host, entry)) is not None:
            await finished(flight, min(patience, PATIENCE))
        if usable := entry.usable(loop.time()):
            return usable
        fault = entry.fault or SILENT
        raise Unresolved(fault, silent=fault == SILENT)

    def keep(self, host: str) -> None:
        """Look a name that is in use up again if that is due, so that a later connection does not wait."""
        if (entry := self._entries.get(host)) is not None:
            self._plan(host, entry)

    def avoid(self, host: str, addresses: Iterable[Address]) -> None:
        """Try these addresses after the others of the name for a while: they took no connection, or broke it."""
        if (entry := self._entries.get(host)) is not None:
            for address in addresses:
                entry.avoid(address, asyncio.get_running_loop().time())

    def _entry(self, host: str) -> Entry:
        entry = self._entries.get(host)
        if entry is None:
            self._entries.put(host, entry := Entry())
        return entry

    def _plan(self, host: str, entry: Entry) -> "asyncio.Task[None] | None":
        """Begin a look-up if one is due. Returns the one that a connection has to wait for, None for none."""
        now = asyncio.get_running_loop().time()
        plan = entry.plan(now, free=self._threads < _THREADS)
        if plan.ask:
            entry.begun(now)
            self._threads += 1
            self._flights.begin(host, lambda: self._look_up(host, entry, now))
        return self._flights.running(host) if plan.wait else None

    async def _look_up(self, host: str, entry: Entry, began: float) -> None:
        """Look a name up, and give up after `PATIENCE` seconds. A later answer still counts."""
        answer = in_daemon_thread(lambda: self._outcome(host), "lookup")
        if await finished(answer, PATIENCE):
            outcome = _NO_THREAD if answer.exception() else answer.result()
            self._emit(NameLookup(self._use, "error" if isinstance(outcome, str) else "ok"))
            self._ended(entry, began, outcome)
            return
        self._emit(NameLookup(self._use, "timeout"))
        with self._reporting(entry) as now:
            entry.given_up(began, now)
        answer.add_done_callback(lambda late: self._ended(entry, began, late.result()))

    def _ended(self, entry: Entry, began: float, outcome: tuple[Address, ...] | str) -> None:
        self._threads -= 1
        with self._reporting(entry) as now:
            if isinstance(outcome, str):
                entry.failed(began, outcome, now)
            else:
                entry.found(began, outcome, now)

    @contextlib.contextmanager
    def _reporting(self, entry: Entry) -> Iterator[float]:
        """Report that look-ups of a name begin to fail, or succeed again. Gives the time."""
        before, now = entry.fault, asyncio.get_running_loop().time()
        yield now
        if entry.fault and not before:
            age = round(entry.age(now), 1) if entry.usable(now) else None
            self._emit(NameUnresolved(self._use, entry.fault, age))
        elif before and not entry.fault:
            self._emit(NameResolves(self._use))

    def _outcome(self, host: str) -> tuple[Address, ...] | str:
        """The addresses of a name, or why there are none. Blocks."""
        try:
            found = self._lookup(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except socket.gaierror as error:
            return _FAULTS.get(error.errno, _FAILS)
        except (OSError, UnicodeError):
            return _FAILS
        addresses = [_address(family, place) for family, _, _, _, place in found]
        return tuple(dict.fromkeys(one for one in addresses if one is not None)) or _NO_ADDRESS


class Resolver(AbstractResolver):
    """`Names` by the interface of aiohttp."""

    def __init__(self, names: Names, patience: float = PATIENCE) -> None:
        self._names: Final = names
        self._patience: Final = patience

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's
    ) -> list[ResolveResult]:
        """Addresses of every family. Raises `Unresolved`, which aiohttp makes its error for names."""
        return [
            ResolveResult(
                hostname=host,
                host=f"{one.host}%{one.scope}" if one.scope else one.host,
                port=port,
                family=family_of(one),
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in await self._names.find(host, self._patience)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def family_of(address: Address) -> socket.AddressFamily:
    """Which kind of socket connects to it."""
    return socket.AF_INET6 if address.is_ipv6 else socket.AF_INET


def place_of(address: Address, port: int) -> tuple[Any, ...]:
    """An address as `socket.connect` takes it."""
    return (address.host, port, 0, address.scope) if address.is_ipv6 else (address.host, port)


def _address(family: int, place: tuple[Any, ...]) -> Address | None:
    if family == socket.AF_INET:
        return Address(place[0])
    if family == socket.AF_INET6 and isinstance(place[0], str):
        return Address(place[0].partition("%")[0], place[3])
    return None


def _fixed(host: str) -> tuple[Address, ...] | None:
    """The addresses of an IP address or of localhost; None for a name that a resolver has to look up."""
    if host.lower() == "localhost":
        return _LOCALHOST
    try:
        return (Address(str(ipaddress.ip_address(host))),)
    except ValueError:
        return None
