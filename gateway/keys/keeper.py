"""The keys of this process through every change: it outlives reloads, and asks about secrets in the background."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.config.assembly.snapshot import Key
from gateway.core.promotion import Read, arrange, begin, doubt, due, learn
from gateway.core.rotation import REPLACED, Finding
from gateway.core.secret import Secret
from gateway.keys.held import Change, Held, OnChange
from gateway.keys.identity import Identities, Known
from gateway.keys.store import Clock

# For each granted endpoint, the keys of its route and its scopes; `admin.drift.needs` makes them.
Needs: TypeAlias = frozenset[tuple[tuple[str, ...], frozenset[str]]]

# Questions at a time: a start with 200 secrets must not look like an attack.
QUESTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Outage:
    """``/me`` could not be asked about a value, for why ``fault`` says; or it can be asked again, where that is empty.

    Meanwhile an identity that is ``age`` seconds old is enforced; None where none is known.
    """

    key: str
    slot: str
    preview: str
    fault: str
    age: float | None


def ignore(change: Change) -> None:
    """Nobody is told of changes."""


def ignore_outage(outage: Outage) -> None:
    """Nobody is told of outages."""


class Keeper:
    """Holds a cell for each key. ``clock`` is monotonic, ``wall`` gives Unix seconds, ``jitter`` a number from 0 to 1.

    ``on_change`` is told of every place that stands otherwise than before, ``on_outage`` when ``/me`` cannot be asked
    about a value, and when it can be again. Where ``prefetch``, a secret is asked about
    as soon as it is held; else when a request wants it, but for one that takes the place of another.
    """

    def __init__(
        self,
        identities: Identities,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        jitter: Callable[[], float] = random.random,
        on_change: OnChange = ignore,
        on_outage: Callable[[Outage], None] = ignore_outage,
        prefetch: bool = False,
    ) -> None:
        self.identities = identities
        self.prefetch = prefetch
        self._clock: Final = clock
        self.wall: Final = wall
        self._jitter: Final = jitter
        self._on_change: Final = on_change
        self._on_outage: Final = on_outage
        self._in_the_dark: set[tuple[str, Secret]] = set()
        self._held: dict[str, Held] = {}
        self._needed: dict[str, frozenset[frozenset[str]]] = {}
        self._readings = 0
        self._wake: Final = asyncio.Event()
        self._asking: Final[set[tuple[str, Secret]]] = set()
        self._room: Final = asyncio.Semaphore(QUESTIONS)

    @property
    def held(self) -> tuple[Held, ...]:
        return tuple(self._held.values())

    def age(self, moment: float) -> float:
        """The seconds since a moment of the monotonic clock."""
        return self._clock() - moment

    def begin_reading(self) -> int:
        """A number for a reading of the secrets' sources, to be taken before it begins."""
        self._readings += 1
        return self._readings

    def hold(self, keys: Mapping[str, Key], needs: Needs, number: int, *, elsewhere: bool = False) -> dict[str, Held]:
        """The cells for the keys of a configuration that was read under this number; those held before go on.

        Where ``elsewhere``, it is of another upstream, and what the one before said of a value is of no account.
        """
        now = self._clock()
        self._needed = {name: frozenset(scopes for names, scopes in needs if name in names) for name in keys}
        held = {}
        for name, key in keys.items():
            reads = [Read(str(slot.place), slot.source, slot.secret, number=number) for slot in key.slots]
            pin, needed = key.workspace, self._needed[name]
            cell = self._held.get(name)
            if cell is None:
                rotation = begin(reads, pin=pin, needed=needed, now=now, eager=self.prefetch)
                cell = Held(name, rotation, self._on_change)
            elif elsewhere:
                epoch = cell.rotation.epoch + 1
                cell.become(begin(reads, pin=pin, needed=needed, now=now, eager=self.prefetch, epoch=epoch))
            else:
                cell.become(arrange(cell.rotation, reads, now, pin=pin, needed=needed))
            held[name] = cell
        self._held = held
        self._tell_secrets()
        self._in_the_dark &= {(name, secret) for name, cell in held.items() for secret in cell.rotation.known}
        self._wake.set()
        return held

    def reread(self, name: str, reads: Iterable[Read]) -> None:
        """Take what the places of a key were found to hold. A key that is not held any more is passed over."""
        cell = self._held.get(name)
        if cell is not None:
            rotation = cell.rotation
            cell.become(arrange(rotation, reads, self._clock(), pin=rotation.pin, needed=rotation.needed))
            self._tell_secrets()
            self._wake.set()

    def _tell_secrets(self) -> None:
        self.identities.secrets.hold(secret for cell in self._held.values() for secret in cell.rotation.known)

    async def lookup(self, held: Held, secret: Secret, *, fresh: bool = False) -> Known:
        """What is known of a value, as `Identities.lookup`; the key learns of it."""
        asked = held.rotation.epoch
        known = await self.identities.lookup(held.name, secret, fresh=fresh)
        dossier = held.rotation.dossier(secret)
        finding = _finding(known, unknown=dossier.finding is None)
        held.become(learn(held.rotation, secret, finding, asked=asked, now=self._clock(), jitter=self._jitter()))
        self._wake.set()
        self._look_for_outage(held, secret, known)
        return known

    def _look_for_outage(self, held: Held, secret: Secret, known: Known) -> None:
        """Tell of the beginning and the end of a time in which nothing newer than `ttl` is known of a value."""
        dark = known.result == "error" or (known.result == "stale" and known.age >= self.identities.ttl)
        at = held.name, secret
        if dark is (at in self._in_the_dark):
            return
        (self._in_the_dark.add if dark else self._in_the_dark.discard)(at)
        age = known.age if known.identity is not None else None
        slot = held.slot_of(secret) or REPLACED
        self._on_outage(Outage(held.name, slot, secret.preview, known.fault if dark else "", age))

    def refused(self, held: Held, secret: Secret) -> None:
        """Take note that Productlane answered 401 or 410 to a request with this value: ``/me`` is asked about it."""
        rotation = doubt(held.rotation, secret, self._clock())
        if rotation is not held.rotation:
            self.identities.forget(secret)
            held.become(rotation)
            self._wake.set()

    async def run(self) -> None:
        """Ask about values as they become due, until cancelled."""
        questions: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._wake.clear()
                if self._due(self._clock()):
                    question = asyncio.create_task(self.verify())
                    questions.add(question)
                    question.add_done_callback(questions.discard)
                    await asyncio.sleep(0)  # it marks what it asks about, which is then due no longer
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._until_due()):
                        await self._wake.wait()
        finally:
            for question in questions:
                question.cancel()
            if questions:
                await asyncio.wait(questions)

    async def verify(self) -> None:
        """Ask about every value that is due now and not being asked about; returns once all are answered."""
        questions = [self._question(held, secret) for held, secret in self._due(self._clock())]
        await asyncio.gather(*questions)

    def _question(self, held: Held, secret: Secret) -> "asyncio.Future[None]":
        self._asking.add((held.name, secret))
        return asyncio.ensure_future(self._ask(held, secret))

    async def _ask(self, held: Held, secret: Secret) -> None:
        try:
            async with self._room:
                # The first word on a value may be one that a replica was given. A second opinion has to be fresh; of a
                # doubted one everything is forgotten already.
                dossier = held.rotation.dossier(secret)
                fresh = dossier.finding is not None and not dossier.doubted
                await self.lookup(held, secret, fresh=fresh)
        finally:
            self._asking.discard((held.name, secret))
            self._wake.set()

    def _due(self, now: float) -> list[tuple[Held, Secret]]:
        return [
            (held, secret)
            for held in self._held.values()
            for secret in due(held.rotation, now)
            if (held.name, secret) not in self._asking
        ]

    def _until_due(self) -> float | None:
        moments = list(self._moments())
        return max(0.0, min(moments) - self._clock()) if moments else None

    def _moments(self) -> Iterator[float]:
        for held in self._held.values():
            for secret, dossier in held.rotation.known.items():
                if (held.name, secret) not in self._asking and dossier.due != float("inf"):
                    yield dossier.due


def _finding(known: Known, *, unknown: bool) -> Finding | None:
    """What a look-up teaches. The stale answer of a storage is believed where nothing else is known of the value."""
    if known.refused is not None:
        return Finding(known.refused)
    if known.identity is None or (known.result == "stale" and not unknown):
        return None
    return Finding(None, known.identity.workspace, known.identity.scopes)
