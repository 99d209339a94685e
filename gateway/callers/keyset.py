"""An issuer's keys in this process: fetched again in time, not too often, and kept through an outage."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.aio.single_flight import SingleFlight
from gateway.aio.waiting import finished
from gateway.callers.signatures import NoKeys, VerifyingKey, read_keys
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.peers import IssuerBack, IssuerFault
from gateway.telemetry.status import IssuerStatus

# All times are seconds. Anybody can send tokens that name unknown keys; this is how often they make the gateway ask.
FLOOR: Final = 10.0
# How soon the keys are asked for again while there are none: a new process has no traffic yet.
_FIRST: Final = 2.0


class KeySet:
    """The keys of the issuer ``name`` by ``kid``. ``fetch`` gets a JWKS document or raises `NoKeys`.

    A known key serves at once. Keys older than ``max_age`` seconds are fetched in the background, so that a key which
    the issuer has withdrawn ends here too; then ``generation`` changes, and what it has signed is to be forgotten.
    While a fetch fails, known keys stay. ``emit`` gets each failure, and the end of an outage. ``clock`` is monotonic.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        max_age: float,
        clock: Callable[[], float],
        emit: Emit = ignore,
    ) -> None:
        self._name: Final = name
        self._fetch: Final = fetch
        self._max_age: Final = max_age
        self._clock: Final = clock
        self._emit: Final = emit
        self._keys: Mapping[str, VerifyingKey] = {}
        self._asked = float("-inf")
        self._fetched: float | None = None
        self._flights: Final[SingleFlight[None, None]] = SingleFlight()
        self.fault = ""
        self.generation = 0
        # Set once the keys have been fetched for the first time.
        self.fetched: Final = asyncio.Event()

    def get(self, kid: str) -> VerifyingKey | None:
        """The key with this ``kid``; None if it is unknown."""
        return self._keys.get(kid)

    @property
    def may_ask(self) -> bool:
        """Whether `ask` would fetch the keys, or wait for a running fetch."""
        return self._flights.running(None) is not None or self._clock() - self._asked >= FLOOR

    async def ask(self) -> None:
        """Fetch the keys, or wait for the running fetch; does nothing if the last one is too recent."""
        if (flight := self._flight(FLOOR)) is not None:
            await finished(flight)
            flight.result()

    def refresh_in_time(self) -> None:
        """Begin a fetch in the background if one is due."""
        self._flight(self._max_age if not self.fault else FLOOR if self._fetched is not None else _FIRST)

    def status(self, url: str) -> IssuerStatus:
        """The status of the issuer; ``url`` is its URL."""
        age = None if self._fetched is None else round(self._clock() - self._fetched, 1)
        up = self._fetched is not None and not self.fault
        return IssuerStatus(self._name, url, up, len(self._keys), age, self.fault or None)

    async def close(self) -> None:
        """Give up the running fetch."""
        await self._flights.close()

    def _flight(self, least: float) -> "asyncio.Task[None] | None":
        """The running fetch, or a new one if the last one began at least so many seconds ago."""
        if self._flights.running(None) is None and self._clock() - self._asked >= least:
            self._asked = self._clock()
            self._flights.begin(None, self._fly)
        return self._flights.running(None)

    async def _fly(self) -> None:
        before = self.fault
        try:
            keys = read_keys(await self._fetch())
        except NoKeys as fault:
            self.fault = str(fault)
            self._emit(IssuerFault(self._name, self.fault, first=self.fault != before))
            return
        self.fault = ""
        self._fetched = self._clock()
        self.fetched.set()
        if any(kid not in keys or keys[kid].source != key.source for kid, key in self._keys.items()):
            self.generation += 1
        self._keys = keys
        if before:
            self._emit(IssuerBack(self._name))
