"""The state of each key of this process, over every reload; asks `/me` about secrets in the background."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from gateway.aio.background import Background
from gateway.aio.waiting import happened
from gateway.config.assembly.snapshot import Key
from gateway.core.promotion import Read, arrange, begin, doubt, due, learn, recheck
from gateway.core.rotation import REPLACED, Finding
from gateway.core.secret import Secret
from gateway.keys.identity import Identities, Known
from gateway.keys.key_state import KeyState
from gateway.keys.store import Clock
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import IdentityBack, IdentityStale, IdentityUnknown

# For each granted endpoint, the keys of its route and its scopes; `gateway.core.drift.needs` makes them.
Needs: TypeAlias = frozenset[tuple[tuple[str, ...], frozenset[str]]]

# Questions at a time: a start with 200 secrets must not look like an attack.
QUESTIONS: Final = 8


class KeyVerifier:
    """Holds the state of each key, and asks ``/me`` about its secrets.

    ``clock`` is monotonic, ``wall`` gives Unix seconds, ``jitter`` a number from 0 to 1. ``emit`` gets each change of a
    slot's state, and when ``/me`` cannot be asked about a secret and can be again. With ``prefetch``, a secret is asked
    about as soon as it is held; else when a request wants it, except for one that takes the place of another.
    """

    def __init__(
        self,
        identities: Identities,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        jitter: Callable[[], float] = random.random,
        emit: Emit = ignore,
        prefetch: bool = False,
    ) -> None:
        self.identities = identities
        self._prefetch = prefetch
        self._clock: Final = clock
        self.wall: Final = wall
        self._jitter: Final = jitter
        self._emit: Final = emit
        self._outages: set[tuple[str, Secret]] = set()
        self._keys: dict[str, KeyState] = {}
        self._readings = 0
        self._wake: Final = asyncio.Event()
        self._asking: Final[set[tuple[str, Secret]]] = set()
        self._room: Final = asyncio.Semaphore(QUESTIONS)

    @property
    def secrets(self) -> set[Secret]:
        """Every secret of every key."""
        return {secret for key in self._keys.values() for secret in key.rotation.known}

    def age(self, moment: float) -> float:
        """The seconds since a moment of the monotonic clock."""
        return self._clock() - moment

    def begin_reading(self) -> int:
        """The number of a reading of the secrets' sources. Call it before the reading begins."""
        self._readings += 1
        return self._readings

    def adopt(
        self,
        keys: Mapping[str, Key],
        *,
        needs: Needs = frozenset(),
        number: int | None = None,
        identities: Identities | None = None,
        prefetch: bool | None = None,
        upstream_changed: bool = False,
    ) -> dict[str, KeyState]:
        """Go on with the keys of a configuration and return their states; what is known of a key stays.

        ``needs`` are what policies ask of the keys. ``number`` is that of the reading of the configuration. Where
        ``identities`` or ``prefetch`` is None, the present one stays. If ``upstream_changed``, discard everything that
        the previous upstream reported about a secret.
        """
        self.identities = identities or self.identities
        self._prefetch = self._prefetch if prefetch is None else prefetch
        number = self.begin_reading() if number is None else number
        adopted = {}
        for name, key in keys.items():
            reads = [Read(str(slot.place), slot.source, slot.secret, number=number) for slot in key.slots]
            needed = frozenset(scopes for names, scopes in needs if name in names)
            adopted[name] = self._adopted(name, reads, key.workspace, needed, upstream_changed)
        self._keys = adopted
        self._secrets_changed()
        self._outages &= {(name, secret) for name, key in adopted.items() for secret in key.rotation.known}
        return adopted

    def _adopted(
        self,
        name: str,
        reads: list[Read],
        pin: str | None,
        needed: frozenset[frozenset[str]],
        upstream_changed: bool,
    ) -> KeyState:
        now, key = self._clock(), self._keys.get(name)
        if key is None:
            rotation = begin(reads, pin=pin, needed=needed, now=now, eager=self._prefetch)
            return KeyState(name, rotation, self._emit)
        if upstream_changed:
            epoch = key.rotation.epoch + 1
            key.become(begin(reads, pin=pin, needed=needed, now=now, eager=self._prefetch, epoch=epoch))
        else:
            key.become(arrange(key.rotation, reads, now, pin=pin, needed=needed))
        return key

    def reread(self, name: str, reads: Iterable[Read]) -> None:
        """Take new readings of a key's slots. Ignores a key that the configuration no longer has."""
        key = self._keys.get(name)
        if key is not None:
            rotation = key.rotation
            key.become(arrange(rotation, reads, self._clock(), pin=rotation.pin, needed=rotation.needed))
            self._secrets_changed()

    def _secrets_changed(self) -> None:
        self.identities.secrets.hold(self.secrets)
        self._wake.set()

    async def lookup(self, key: KeyState, secret: Secret, *, fresh: bool = False) -> Known:
        """Look a secret up as `Identities.lookup` does, and update the key."""
        asked = key.rotation.epoch
        known = await self.identities.lookup(key.name, secret, fresh=fresh)
        dossier = key.rotation.dossier(secret)
        finding = _finding(known, unknown=dossier.finding is None)
        key.become(learn(key.rotation, secret, finding, asked=asked, now=self._clock(), jitter=self._jitter()))
        self._wake.set()
        self._report_outage(key, secret, known)
        return known

    def _report_outage(self, key: KeyState, secret: Secret, known: Known) -> None:
        """Report when the identity of a secret becomes older than `ttl`, and when it is fresh again."""
        out = known.result == "error" or (known.result == "stale" and known.age >= self.identities.ttl)
        at = key.name, secret
        if out is (at in self._outages):
            return
        (self._outages.add if out else self._outages.discard)(at)
        about = key.name, key.slot_of(secret) or REPLACED, secret.preview
        if not out:
            self._emit(IdentityBack(*about))
        elif known.identity is None:
            self._emit(IdentityUnknown(*about, known.fault))
        else:
            self._emit(IdentityStale(*about, known.fault, round(known.age, 1)))

    def refused(self, key: KeyState, secret: Secret) -> None:
        """Have ``/me`` asked about a secret that Productlane refused in its answer to a request."""
        rotation = doubt(key.rotation, secret, self._clock())
        if rotation is not key.rotation:
            if rotation.dossier(secret).doubted:
                self.identities.forget(secret)
            else:
                self.identities.overtake(secret)
            key.become(rotation)
            self._wake.set()

    def lacks_scope(self, key: KeyState, secret: Secret) -> None:
        """Have ``/me`` asked about a secret, in the background, since Productlane refused a request for a scope."""
        rotation = recheck(key.rotation, secret, self._clock())
        if rotation is not key.rotation:
            key.become(rotation)
            self._wake.set()

    async def run(self) -> None:
        """Ask about secrets as they become due, until cancelled."""
        questions = Background()
        try:
            while True:
                self._wake.clear()
                if self._due(self._clock()):
                    questions.start(self.verify())
                    await asyncio.sleep(0)  # it marks what it asks about, which is then due no longer
                await happened(self._wake, self._until_due())
        finally:
            await questions.close()

    async def verify(self) -> None:
        """Ask about every secret that is due, unless a question about it is running; return once all are answered."""
        due_now = self._due(self._clock())
        self._asking.update((key.name, secret) for key, secret in due_now)
        await asyncio.gather(*(self._ask(key, secret) for key, secret in due_now))

    async def _ask(self, key: KeyState, secret: Secret) -> None:
        try:
            async with self._room:
                # The first answer about a secret may come from the store. A later one has to be fresh, except for a
                # doubted secret, whose stored answer is deleted already.
                dossier = key.rotation.dossier(secret)
                fresh = dossier.finding is not None and not dossier.doubted
                await self.lookup(key, secret, fresh=fresh)
        finally:
            self._asking.discard((key.name, secret))
            self._wake.set()

    def _due(self, now: float) -> list[tuple[KeyState, Secret]]:
        return [
            (key, secret)
            for key in self._keys.values()
            for secret in due(key.rotation, now)
            if (key.name, secret) not in self._asking
        ]

    def _until_due(self) -> float | None:
        """The seconds until a secret is due about which no question is running; None for never."""
        moments = (
            dossier.due
            for key in self._keys.values()
            for secret, dossier in key.rotation.known.items()
            if (key.name, secret) not in self._asking
        )
        first = min(moments, default=float("inf"))
        return None if first == float("inf") else max(0.0, first - self._clock())


def _finding(known: Known, *, unknown: bool) -> Finding | None:
    """What a look-up says about a secret. A stale answer counts only if nothing else is known of the secret."""
    if known.refused is not None:
        return Finding(known.refused)
    if known.identity is None or (known.result == "stale" and not unknown):
        return None
    return Finding(None, known.identity.workspace, known.identity.scopes)
