"""The issuer's keys as this process knows them: asked for again in time, never in a rush, kept through an outage."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.callers.signatures import NoKeys, VerifyingKey, read_keys

# Tokens that name unknown keys come from whoever likes to send them; this is how often they can make us ask.
FLOOR: Final = 10.0


class KeySet:
    """Keys by ``kid``. ``fetch`` gets a JWKS document or raises `NoKeys`; ``clock`` is monotonic seconds.

    A known key serves at once; when the keys are older than ``max_age`` seconds they are asked for in the background,
    so that a key which the issuer has withdrawn ends here too. ``on_change`` is called before a key is withdrawn or
    replaced, ``on_fault`` with the reason where the keys could not be had: then those that are known stay.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        max_age: float,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._fetch: Final = fetch
        self._max_age: Final = max(max_age, FLOOR)
        self._clock: Final = clock
        self._on_change: Final = on_change
        self._on_fault: Final = on_fault
        self._keys: Mapping[str, VerifyingKey] = {}
        self._asked = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> VerifyingKey | None:
        """The key; an unknown one is asked for where the last question is long enough ago."""
        self.refresh_in_time()
        if kid not in self._keys:
            if self._flight is None and self._clock() - self._asked >= FLOOR:
                self._take_off()
            if self._flight is not None:
                # A caller that leaves must not take the answer away from the others.
                await asyncio.shield(self._flight)
        return self._keys.get(kid)

    @property
    def empty(self) -> bool:
        """Whether no key has been had so far."""
        return not self._keys

    def refresh_in_time(self) -> None:
        """Ask in the background where the keys have come of age."""
        if self._flight is None and self._clock() - self._asked >= self._max_age:
            self._take_off()

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
            self._on_fault(str(fault))
            return
        if any(kid not in keys or keys[kid].source != key.source for kid, key in self._keys.items()):
            self._on_change()
        self._keys = keys
