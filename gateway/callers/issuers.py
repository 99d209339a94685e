"""The key sets of the issuers of a configuration, and their status.

Imported where issuers are configured, and not otherwise: see `signatures`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiohttp.abc import AbstractResolver

from gateway.callers.issuer import source_of
from gateway.callers.issuer_settings import IssuerSettings
from gateway.callers.keyset import FLOOR, KeySet
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.status import IssuerStatus

# The keys' ages at which they are fetched again: an issuer is another machine, a file is at hand.
_AGE_DISCOVERED: Final = 300.0
_AGE_FILE: Final = FLOOR
# Seconds between two checks of whether a fetch is due.
_LOOK: Final = 1.0


class Issuers:
    """A key set for each issuer. ``keys`` are by the issuer's URL.

    ``clock`` is monotonic seconds; ``resolver`` finds the issuers. An issuer of ``after`` with the same settings keeps
    its key set; call `close` on ``after`` with ``keep``.
    """

    def __init__(
        self,
        settings: Iterable[IssuerSettings],
        *,
        after: "Issuers | None" = None,
        emit: Emit = ignore,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retired = False
        known: Mapping[IssuerSettings, KeySet] = {} if after is None else after.sets
        self.sets: Final[Mapping[IssuerSettings, KeySet]] = {
            issuer: known.get(issuer)
            or KeySet(
                issuer.name,
                source_of(issuer, resolver),
                max_age=_AGE_FILE if issuer.jwks is not None else _AGE_DISCOVERED,
                clock=clock,
                emit=emit,
            )
            for issuer in settings
        }
        self.keys: Final[Mapping[str, KeySet]] = {issuer.issuer: keys for issuer, keys in self.sets.items()}

    def statuses(self) -> list[IssuerStatus]:
        """How each issuer is doing."""
        return [keys.status(issuer.issuer) for issuer, keys in self.sets.items()]

    async def first_keys(self) -> None:
        """Wait until the keys of every issuer have been fetched once."""
        await asyncio.gather(*(keys.fetched.wait() for keys in self.sets.values()))

    async def run(self) -> None:
        """Fetch each issuer's keys when it is time, until `retire`."""
        while not self._retired:
            for keys in self.sets.values():
                keys.refresh_in_time()
            await asyncio.sleep(_LOOK)

    def retire(self) -> None:
        """End `run`: another `Issuers` fetches the keys from now on."""
        self._retired = True

    async def close(self, keep: "Issuers | None" = None) -> None:
        """Give up running fetches, except those of the key sets that ``keep`` has too."""
        for issuer, keys in self.sets.items():
            if keep is None or keep.sets.get(issuer) is not keys:
                await keys.close()
