"""What Productlane says of each secret, remembered: decoded in this process, and behind it in a storage."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ssl import SSLContext
from typing import Final, Literal

from aiohttp.abc import AbstractResolver

from gateway.config.schema.gateway import Identity as IdentitySettings
from gateway.core.identity import Identity
from gateway.core.key_faults import KeyFault
from gateway.core.secret import Secret
from gateway.keys.me import Fault, Good, Me, Refusal
from gateway.keys.storage import ENTRIES, Clock, MemoryStorage, Recent, Storage

Result = Literal["hit", "miss", "stale", "refused", "error"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a look-up gives: an identity, or Productlane's refusal of the secret, or neither.

    ``age`` is the seconds since it was asked for, 0.0 where neither is known. ``fault`` is a short phrase, free of
    secrets, that says why the last question taught nothing; it is set with ``stale`` and ``error``.
    """

    identity: Identity | None
    refused: KeyFault | None
    age: float
    result: Result
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is remembered of a secret. Moments are readings of the clock."""

    identity: Identity | None
    refused: KeyFault | None
    asked_at: float
    quiet_until: float = float("-inf")
    fault: str = ""


_NOTHING: Final = _Entry(None, None, float("-inf"))

# How old a question may be that is still waited for where the one before it taught nothing, in seconds: enough for a
# `/me` that answers again, and little where it hangs.
_HOPE: Final = 0.3


class _Flight:
    """A question on its way since ``began``. ``fresh`` where it does not take the storage's word."""

    __slots__ = ("began", "fresh", "task")

    def __init__(self, fresh: bool, began: float) -> None:
        self.fresh = fresh
        self.began = began
        self.task: asyncio.Task[Known]


def ignore(key: str, result: Result) -> None:
    """Nobody counts look-ups."""


class Identities:
    """The identity of each secret, asked for once however many want it, and served stale while it cannot be asked for.

    ``url`` is the upstream's base without a trailing slash, ``timeout`` the seconds that one question may take,
    ``clock`` a monotonic one. ``storage`` outlives this object where it is handed in; memory otherwise. Where others
    share it, ``stamp`` is the clock that they agree on: Unix time. ``resolver`` is as for `Me`.
    ``on_lookup`` is told the key's name and the result of each look-up. Nothing is opened before the first question.
    ``changes`` counts how often what is remembered in this process has changed.
    """

    def __init__(
        self,
        *,
        url: str,
        settings: IdentitySettings,
        timeout: float,
        ssl: SSLContext | None,
        clock: Clock = time.monotonic,
        on_lookup: Callable[[str, Result], None] = ignore,
        storage: Storage | None = None,
        stamp: Clock | None = None,
        resolver: AbstractResolver | None = None,
        entries: int = ENTRIES,
    ) -> None:
        self.on_lookup: Final = on_lookup
        self.changes = 0
        self._settings: Final = settings
        self.clock: Final = clock
        self._entries: Final[Recent[_Entry]] = Recent(entries)
        self._flights: Final[dict[str, _Flight]] = {}
        self._tasks: Final[set[asyncio.Task[Known]]] = set()
        self._me: Final = Me(
            url,
            ttl=settings.ttl,
            stale_if_error=settings.stale_if_error,
            timeout=timeout,
            ssl=ssl,
            clock=clock,
            storage=MemoryStorage(entries) if storage is None else storage,
            stamp=stamp,
            resolver=resolver,
        )

    @property
    def ttl(self) -> float:
        """How long an answer is trusted, in seconds."""
        return self._settings.ttl

    def peek(self, secret: Secret) -> Known | None:
        """A fresh identity or refusal that is remembered in this process; None where `lookup` would have to do more.

        Not counted as a look-up: whoever relies on it tells `on_lookup`.
        """
        entry = self._entries.get(secret.fingerprint)
        if entry is None:
            return None
        age = self.clock() - entry.asked_at
        if entry.refused is not None:
            return Known(None, entry.refused, age, "refused") if age < self._settings.refused_ttl else None
        return Known(entry.identity, None, age, "hit") if age < self._settings.ttl else None

    def recall(self, secret: Secret) -> Known | None:
        """The last that was learnt of a secret in this process, however long ago, without asking. For display only."""
        entry = self._entries.get(secret.fingerprint)
        if entry is None:
            return None
        if entry.refused is not None:
            return Known(None, entry.refused, self.clock() - entry.asked_at, "refused", entry.fault)
        return self._known(entry, "hit")

    async def lookup(self, key: str, secret: Secret, *, fresh: bool = False) -> Known:
        """What is known of a secret of the key with this name; where ``fresh``, Productlane is asked whatever is known.

        Never raises for a fault of Productlane or of the storage. A caller that is cancelled leaves the question to
        those who share it. For a short while after a fault nothing is asked, even where ``fresh``; the next question is
        hardly waited for, unless ``fresh``.
        """
        known = None if fresh else self.peek(secret)
        if known is None:
            known = self._while_quiet(secret) or await self._share(secret, fresh)
        self.on_lookup(key, known.result)
        return known

    def forget(self, secret: Secret) -> None:
        """Forget what is known of a secret, here and in the storage. Called on the event loop.

        The answer to a question on its way still reaches those who wait for it, and is not remembered.
        """
        self.changes += 1
        entry = self._entries.get(secret.fingerprint)
        if entry is not None and entry.fault:
            # That Productlane does not answer is true all the same.
            self._entries.put(secret.fingerprint, replace(_NOTHING, quiet_until=entry.quiet_until, fault=entry.fault))
        else:
            self._entries.drop(secret.fingerprint)
        self._flights.pop(secret.fingerprint, None)
        self._me.drop(secret)

    async def close(self) -> None:
        """Give up what is on its way (its callers get an unknown identity) and close the session."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._me.close()

    def _while_quiet(self, secret: Secret) -> Known | None:
        entry = self._entries.get(secret.fingerprint)
        if entry is None or self.clock() >= entry.quiet_until:
            return None
        return self._known(entry, "stale")

    def _known(self, entry: _Entry, result: Result) -> Known:
        """The entry's identity as this result, as long as it may be served at all (RFC 5861 section 4)."""
        age = self.clock() - entry.asked_at
        if entry.identity is None or age >= self._settings.ttl + self._settings.stale_if_error:
            return Known(None, None, 0.0, "error", entry.fault)
        return Known(entry.identity, None, age, result, entry.fault)

    async def _share(self, secret: Secret, fresh: bool) -> Known:
        """Wait for the question about this secret, which is asked now unless one on its way will do.

        `asyncio.wait` and not the task itself: cancelling a caller must not cancel the question.
        """
        now = asyncio.get_running_loop().time()
        entry = self._entries.get(secret.fingerprint)
        flight = self._flights.get(secret.fingerprint)
        if flight is None or (fresh and not flight.fresh):
            flight = self._flights[secret.fingerprint] = _Flight(fresh, now)
            flight.task = asyncio.create_task(self._fly(flight, secret))
            self._tasks.add(flight.task)
            flight.task.add_done_callback(self._ended)
        patience = max(0.0, flight.began + _HOPE - now) if entry is not None and entry.fault and not fresh else None
        await asyncio.wait({flight.task}, timeout=patience)
        if entry is not None and not flight.task.done():
            return self._known(self._entries.get(secret.fingerprint) or entry, "stale")
        return Known(None, None, 0.0, "error", "closed") if flight.task.cancelled() else flight.task.result()

    async def _fly(self, flight: _Flight, secret: Secret) -> Known:
        try:
            began = self.clock()
            outcome = await self._me.ask(secret, fresh=flight.fresh)
            entry = await self._entry(secret, outcome, began)
            # Forgotten or overtaken meanwhile: this answer is older than what is known of the secret now.
            if self._flights.get(secret.fingerprint) is flight:
                self.changes += 1
                self._entries.put(secret.fingerprint, entry)
        finally:
            if self._flights.get(secret.fingerprint) is flight:
                del self._flights[secret.fingerprint]
        match outcome:
            case Good():
                return Known(outcome.identity, None, outcome.age, "hit" if outcome.kept else "miss")
            case Refusal():
                return Known(None, outcome.fault, self.clock() - began, "refused")
            case Fault():
                return self._known(entry, "stale")

    async def _entry(self, secret: Secret, outcome: Good | Refusal | Fault, began: float) -> _Entry:
        match outcome:
            case Good():
                return _Entry(outcome.identity, None, self.clock() - outcome.age)
            case Refusal():
                return _Entry(None, outcome.fault, began)
            case Fault():
                last = self._entries.get(secret.fingerprint) or _NOTHING
                if last.identity is None and (kept := await self._me.stale(secret)) is not None:
                    last = _Entry(kept.identity, None, self.clock() - kept.age)
                return replace(last, quiet_until=self.clock() + outcome.pause, fault=outcome.why)

    def _ended(self, task: asyncio.Task[Known]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, or asyncio would report it where every caller has left before
