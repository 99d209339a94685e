"""`gateway.net.resolver`: a resolver that fails or hangs is reported as such, and blocks no other request."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.net.addresses import PATIENCE, SILENT, Address
from gateway.net.resolver import Names, Resolver, Unresolved, place_of
from gateway.telemetry.event import Event
from gateway.telemetry.events.peers import NameLookup, NameResolves, NameUnresolved
from tests.support.deadline import DEADLINE, eventually

HOST = "productlane.test"
HERE = Address("127.0.0.1")
# Shorter than the usual wait, as for an upstream with a short `connect_timeout`.
SHORT = 0.05


class Lookups:
    """Replaces getaddrinfo: returns ``places``, raises ``fault``, or hangs while ``gate`` is closed."""

    def __init__(self) -> None:
        self.places = ["127.0.0.1"]
        self.fault: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []

    def __call__(self, host: str, port: None, **options: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        self.gate.wait(DEADLINE)
        if self.fault is not None:
            raise self.fault
        return [entry for place in self.places for entry in socket.getaddrinfo(place, port, **options)]


@pytest.fixture
def lookups() -> Iterator[Lookups]:
    lookups = Lookups()
    yield lookups
    lookups.gate.set()


async def fault_of(names: Names, host: str = HOST, patience: float = SHORT) -> tuple[str, bool]:
    with pytest.raises(Unresolved) as caught:
        await names.find(host, patience)
    return caught.value.why, caught.value.silent


@pytest.mark.parametrize(
    ("host", "places"),
    [
        ("127.0.0.1", [("127.0.0.1", 443)]),
        ("::1", [("::1", 443, 0, 0)]),
        ("localhost", [("127.0.0.1", 443), ("::1", 443, 0, 0)]),
        ("LocalHost", [("127.0.0.1", 443), ("::1", 443, 0, 0)]),
    ],
)
async def test_no_resolver_says_where_this_machine_is(lookups: Lookups, host: str, places: list[Any]) -> None:
    """An address and ``localhost`` are never looked up, so no resolver can redirect a key in clear text."""
    found = await Names(lookup=lookups).find(host)

    assert places == [place_of(one, 443) for one in found]
    assert [] == lookups.asked


async def test_a_crowd_asks_once(lookups: Lookups) -> None:
    """However many connections are made at a time, the resolver gets one question, and those after it none."""
    names = Names(lookup=lookups)
    lookups.gate.clear()
    crowd = [asyncio.create_task(names.find(HOST)) for _ in range(100)]
    await asyncio.sleep(0)
    crowd[0].cancel()
    lookups.gate.set()
    found = await asyncio.gather(*crowd[1:])

    assert [(HERE,)] * 100 == [*found, await names.find(HOST)]
    assert [HOST] == lookups.asked


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "the resolver knows no such name"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "the resolver fails, or cannot be reached"),
        (socket.gaierror(socket.EAI_NODATA, "x"), "the resolver knows no address of it"),
        (socket.gaierror(socket.EAI_FAIL, "x"), "the look-up fails"),
        (UnicodeError("label too long"), "the look-up fails"),
        (OSError("out of files"), "the look-up fails"),
        (None, "the resolver knows no address of it"),
    ],
)
async def test_a_failure_is_told_in_words(lookups: Lookups, fault: Exception | None, why: str) -> None:
    """A resolver's error is reported at once; the name is looked up again a second later, not per request."""
    names = Names(lookup=lookups)
    lookups.fault, lookups.places = fault, []
    faults = [await fault_of(names) for _ in range(3)]

    assert [(why, False)] * 3 == faults
    assert [HOST] == lookups.asked


async def test_a_thread_that_cannot_be_had_is_a_failure(lookups: Lookups, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the thread limit the caller gets an error that says so, and the look-up is tried again later."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = Names(lookup=lookups)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        faults = await fault_of(names)

    assert ("no thread could be started for the look-up", False) == faults
    await eventually_found(names)


async def eventually_found(names: Names) -> None:
    async def found() -> bool:
        try:
            return (HERE,) == await names.find(HOST, SHORT)
        except Unresolved:
            return False

    await eventually(found)


async def test_a_silence_costs_no_more_than_patience(lookups: Lookups) -> None:
    """All requests share one wait of two seconds for a hanging resolver; after that none waits until it is back."""
    reported: list[Event] = []
    names = Names(emit=reported.append, lookup=lookups)
    lookups.gate.clear()
    loop = asyncio.get_running_loop()
    began = loop.time()
    faults = await asyncio.gather(*(fault_of(names, patience=60.0) for _ in range(10)))
    first = loop.time() - began
    faults.append(await fault_of(names, patience=60.0))
    second = loop.time() - began - first
    # The answer of a look-up that timed out is used as soon as it comes.
    lookups.gate.set()
    await eventually_found(names)

    assert [(SILENT, True)] * 11 == faults
    assert first < 2 * PATIENCE
    assert second < PATIENCE
    assert NameLookup("upstream", "timeout") in reported
    assert 1 == sum(isinstance(event, NameLookup) for event in reported)
    assert [HOST] == lookups.asked


async def test_a_short_patience_is_kept(lookups: Lookups) -> None:
    """A caller with less than two seconds left gets the error when its time is over."""
    names = Names(lookup=lookups)
    lookups.gate.clear()
    began = time.monotonic()
    faults = await fault_of(names, patience=SHORT)

    assert (SILENT, True) == faults
    assert time.monotonic() - began < PATIENCE


async def test_hanging_look_ups_starve_nothing(lookups: Lookups) -> None:
    """At most four threads hang, whatever is asked; other work in threads, and the loop itself, go on as before."""
    names = Names(lookup=lookups)
    lookups.gate.clear()
    for number in range(10):
        await fault_of(names, f"{number}.test", patience=0.01)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.001) for _ in range(20)))
    await loop.getaddrinfo("localhost", 80)

    assert 4 == len(lookups.asked)
    assert 4 == sum(thread.name == "lookup" and thread.daemon for thread in threading.enumerate())
    assert loop.time() - began < DEADLINE
    lookups.gate.set()
    await eventually_found(names)


async def test_only_a_change_is_logged(lookups: Lookups) -> None:
    """That a name no longer resolves is reported once, and once that it does again; each look-up is counted."""
    reported: list[Event] = []
    names = Names("issuer", reported.append, lookup=lookups)
    lookups.fault = socket.gaierror(socket.EAI_AGAIN, "x")

    async def asked_twice() -> bool:
        await fault_of(names)
        return sum(isinstance(event, NameLookup) for event in reported) > 1

    await eventually(asked_twice)
    lookups.fault = None
    await eventually_found(names)

    assert [
        NameLookup("issuer", "error"),
        NameUnresolved("issuer", "the resolver fails, or cannot be reached", None),
        NameLookup("issuer", "error"),
        NameLookup("issuer", "ok"),
        NameResolves("issuer"),
    ] == reported


async def test_few_names_are_remembered(lookups: Lookups) -> None:
    """An issuer that names another host each time does not fill the memory."""
    names = Names(lookup=lookups)
    for number in range(50):
        await names.find(f"{number}.test")

    assert 16 == len(names._entries)
    assert None is names._flights.running("49.test")


@pytest.mark.parametrize(("place", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
async def test_aiohttp_gets_what_it_takes(lookups: Lookups, place: str, host: str) -> None:
    """The sessions that ask for identities and for an issuer's keys connect to the same addresses."""
    lookups.places = [place]
    (found,) = await Resolver(Names(lookup=lookups)).resolve(HOST, 443)

    assert (HOST, host, 443) == (found["hostname"], found["host"], found["port"])
    assert (socket.AF_INET6 if ":" in place else socket.AF_INET) == found["family"]


def test_a_closed_loop_does_not_mind_a_late_answer(lookups: Lookups) -> None:
    """A look-up that outlives the loop ends without a word."""
    lookups.gate.clear()
    unraisable: list[Any] = []
    before, threading.excepthook = threading.excepthook, unraisable.append
    try:
        asyncio.run(fault_of(Names(lookup=lookups)))
        (thread,) = [one for one in threading.enumerate() if one.name == "lookup"]
        lookups.gate.set()
        thread.join(DEADLINE)
    finally:
        threading.excepthook = before

    assert not thread.is_alive()
    assert [] == unraisable
