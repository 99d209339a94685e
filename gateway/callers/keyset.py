"""An issuer's keys as this process knows them: fetched in time, never in a rush, kept through an outage."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.callers.signatures import NoKeys, VerifyingKey, read_keys
from gateway.telemetry.status import IssuerStatus

# Anybody can send tokens that name unknown keys; this is how often they can make the gateway ask, in seconds.
FLOOR: Final = 10.0
# How soon the keys are asked for again while there are none: a new process has no traffic yet.
_FIRST: Final = 2.0


class KeySet:
    """Keys by ``kid``. ``fetch`` gets a JWKS document or raises `NoKeys`; ``clock`` is monotonic seconds.

    A known key serves at once. Keys older than ``max_age`` seconds are fetched in the background, so that a key which
    the issuer has withdrawn ends here too; then ``generation`` changes, and what it has signed is to be forgotten.
    While a fetch fails, known keys stay. ``on_fetch`` is called after each fetch with what went wrong, empty for
    nothing.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        max_age: float,
        clock: Callable[[], float],
        on_fetch: Callable[[str], None] = lambda _fault: None,
    ) -> None:
        self._fetch: Final = fetch
        self._max_age: Final = max(max_age, FLOOR)
        self._clock: Final = clock
        self._on_fetch: Final = on_fetch
        self._keys: Mapping[str, VerifyingKey] = {}
        self._asked = float("-inf")
        self._fetched: float | None = None
        self._flight: asyncio.Task[None] | None = None
        self.fault = ""
        self.generation = 0
        # Set once the keys have been fetched for the first time.
        self.fetched: Final = asyncio.Event()

    def get(self, kid: str) -> VerifyingKey | None:
        """The key, where it is known."""
        return self._keys.get(kid)

    @property
    def may_ask(self) -> bool:
        """Whether `ask` would fetch the keys, or is fetching them."""
        return self._flight is not None or self._clock() - self._asked >= FLOOR

    async def ask(self) -> None:
        """Fetch the keys, or wait for the fetch under way; nothing where the last one is too recent."""
        if self._flight is None and self.may_ask:
            self._take_off()
        if self._flight is not None:
            # A caller that leaves must not take the answer away from the others.
            await asyncio.shield(self._flight)

    def refresh_in_time(self) -> None:
        """Fetch in the background where it is time for it."""
        wait = self._max_age if not self.fault else FLOOR if self._fetched is not None else _FIRST
        if self._flight is None and self._clock() - self._asked >= wait:
            self._take_off()

    def status(self, name: str, issuer: str) -> IssuerStatus:
        """How the issuer is doing, under these names."""
        age = None if self._fetched is None else round(self._clock() - self._fetched, 1)
        up = self._fetched is not None and not self.fault
        return IssuerStatus(name, issuer, up, len(self._keys), age, self.fault or None)

    async def close(self) -> None:
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _take_off(self) -> None:
        self._asked = self._clock()
        self._flight = asyncio.create_task(self._fly())
        self._flight.add_done_callback(self._landed)

    def _landed(self, _flight: asyncio.Task[None]) -> None:
        self._flight = None

    async def _fly(self) -> None:
        try:
            keys = read_keys(await self._fetch())
        except NoKeys as fault:
            self.fault = str(fault)
        else:
            self.fault = ""
            self._fetched = self._clock()
            self.fetched.set()
            if any(kid not in keys or keys[kid].source != key.source for kid, key in self._keys.items()):
                self.generation += 1
            self._keys = keys
        self._on_fetch(self.fault)
