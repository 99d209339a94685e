"""What Productlane says of each secret, remembered in this process, and beyond it in a store if there is one."""

import asyncio
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from gateway.aio.single_flight import SingleFlight
from gateway.aio.waiting import finished
from gateway.core.identity import Identity
from gateway.core.key_faults import KeyFault
from gateway.core.recent import ENTRIES, Recent
from gateway.core.secret import HeldSecrets, Secret
from gateway.keys.me import Me
from gateway.keys.me_values import Fault, Good, MeSettings, Refusal
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import IdentityLookup

Result = Literal["hit", "miss", "stale", "refused", "error"]


class Known(NamedTuple):
    """The result of a look-up: an identity, or Productlane's refusal of the secret, or neither.

    ``age`` is the seconds since the question, 0.0 without an answer. ``fault`` says in a short phrase, free of secrets,
    why the last question failed; it is set with ``stale`` and ``error``.
    """

    identity: Identity | None
    refused: KeyFault | None
    age: float
    result: Result
    fault: str = ""


class _Entry(NamedTuple):
    """What is remembered of a secret, asked for at ``asked_at`` of the monotonic clock and at Unix time ``stamp``.

    A store's entry from ``stamp`` or before is never used.
    """

    identity: Identity | None
    refused: KeyFault | None
    asked_at: float
    stamp: float
    quiet_until: float = float("-inf")
    fault: str = ""


_NEVER: Final = float("-inf")
_NOTHING: Final = _Entry(None, None, _NEVER, _NEVER)

# How long a request waits for a question if the one before it failed, in seconds since the question began: enough for
# a `/me` that answers again, and little where it hangs.
_HOPE: Final = 0.3


class Identities:
    """The identity of each secret, asked for once however many want it, and served stale while it cannot be asked for.

    ``after`` is what asked before: its secrets stay held, and if it asked the same server, what it remembers goes on.
    ``emit`` gets each look-up. Nothing is opened before the first question. ``ttl`` is how long an answer is trusted,
    in seconds. ``changes`` counts how often what is remembered here has changed.
    """

    def __init__(
        self, settings: MeSettings, *, emit: Emit = ignore, entries: int = ENTRIES, after: "Identities | None" = None
    ) -> None:
        if after is not None:
            settings = replace(settings, secrets=after.secrets)
        self.upstream: Final = settings.upstream
        self.secrets: Final[HeldSecrets] = settings.secrets
        self.emit: Final = emit
        self.changes = 0
        self.clock: Final = settings.clock
        self._wall: Final = settings.wall
        self.ttl: Final = settings.identity.ttl
        self._refused_ttl: Final = settings.identity.refused_ttl
        self._keep: Final = settings.keep
        going_on = after is not None and after.upstream == settings.upstream
        self.entries: Final[Recent[str, _Entry]] = after.entries if after and going_on else Recent(entries)
        self._flights: Final[SingleFlight[str, Known]] = SingleFlight()
        # For each flight: whether it asks whatever the store has, and when it began, on the loop's clock.
        self._begun: Final[Recent[str, tuple[bool, float]]] = Recent(entries)
        self._me: Final = Me(settings)

    def peek(self, secret: Secret) -> Known | None:
        """A fresh identity or refusal from memory; None if `lookup` would have to do more.

        It is not counted as a look-up; a caller that relies on it emits one.
        """
        entry = self.entries.get(secret.fingerprint)
        if entry is None:
            return None
        age = self.clock() - entry.asked_at
        if entry.refused is not None:
            return Known(None, entry.refused, age, "refused") if age < self._refused_ttl else None
        return Known(entry.identity, None, age, "hit") if age < self.ttl else None

    def recall(self, secret: Secret) -> Known | None:
        """The last answer about a secret, however old, without asking. For display only."""
        entry = self.entries.get(secret.fingerprint)
        if entry is not None and entry.refused is not None:
            return Known(None, entry.refused, self.clock() - entry.asked_at, "refused", entry.fault)
        return None if entry is None else self._known(entry, "hit")

    async def lookup(self, key: str, secret: Secret, *, fresh: bool = False) -> Known:
        """What is known of a secret of the key with this name; where ``fresh``, Productlane is asked whatever is known.

        Never raises for a fault of Productlane or of the storage. A caller that is cancelled leaves the question to
        those who share it. For a short while after a fault nothing is asked, even where ``fresh``; the next question is
        hardly waited for, unless ``fresh``.
        """
        known = None if fresh else self.peek(secret)
        if known is None:
            entry = self.entries.get(secret.fingerprint)
            if entry is not None and self.clock() < entry.quiet_until:
                known = self._known(entry, "stale")
            else:
                known = await self._share(secret, entry, fresh)
        self.emit(IdentityLookup(key, known.result))
        return known

    def overtake(self, secret: Secret) -> None:
        """Ask anew at the next look-up. A running question still answers its callers, and is not remembered."""
        self._flights.forget(secret.fingerprint)

    def forget(self, secret: Secret) -> None:
        """Forget what is known of a secret, here and in the store. A running question goes on."""
        self.changes += 1
        last = self.entries.get(secret.fingerprint) or _NOTHING
        # An outage of Productlane goes on all the same.
        forgotten = _NOTHING._replace(stamp=self._wall(), quiet_until=last.quiet_until, fault=last.fault)
        self.entries.put(secret.fingerprint, forgotten)
        self._me.drop(secret)

    async def close(self) -> None:
        """Give up running questions, whose callers get an unknown identity, and wait for the store."""
        await self._flights.close()
        await self._me.close()

    def _known(self, entry: _Entry, result: Result) -> Known:
        """The entry's identity as this result, as long as it may be served at all (RFC 5861 section 4)."""
        age = self.clock() - entry.asked_at
        if entry.identity is None or age >= self._keep:
            return Known(None, None, 0.0, "error", entry.fault)
        return Known(entry.identity, None, age, result, entry.fault)

    async def _share(self, secret: Secret, entry: _Entry | None, fresh: bool) -> Known:
        """Wait for the question about this secret: the running one, or one that begins now."""
        now, at = asyncio.get_running_loop().time(), secret.fingerprint
        flight = self._flights.running(at)
        asked_fresh, began = self._begun.get(at) or (False, now)
        if flight is None or (fresh and not asked_fresh):
            began = now
            self._begun.put(at, (fresh, began))
            flight = self._flights.begin(at, lambda: self._fly(secret, fresh))
        failed = entry is not None and entry.fault and not fresh
        await finished(flight, max(0.0, began + _HOPE - now) if failed else None)
        if entry is not None and not flight.done():
            return self._known(self.entries.get(at) or entry, "stale")
        return Known(None, None, 0.0, "error", "closed") if flight.cancelled() else flight.result()

    async def _fly(self, secret: Secret, fresh: bool) -> Known:
        at, began = secret.fingerprint, self.clock()
        last = self.entries.get(at) or _NOTHING
        outcome = await self._me.ask(secret, newer_than=float("inf") if fresh else last.stamp)
        match outcome:
            case Good():
                entry = self._learnt(outcome)
                known = Known(outcome.identity, None, outcome.age, "hit" if outcome.kept else "miss")
            case Refusal():
                entry = _Entry(None, outcome.fault, began, self._wall())
                known = Known(None, outcome.fault, self.clock() - began, "refused")
            case Fault():
                entry = await self._after(outcome, secret)
                known = self._known(entry, "stale")
        # After `forget` or `overtake`, something newer is known of the secret.
        if self._flights.running(at) is asyncio.current_task():
            self.changes += 1
            self.entries.put(at, entry)
        return known

    def _learnt(self, good: Good) -> _Entry:
        return _Entry(good.identity, None, self.clock() - good.age, good.asked_at)

    async def _after(self, fault: Fault, secret: Secret) -> _Entry:
        """What is known after a fault: the same as before, else what the store still has."""
        last = self.entries.get(secret.fingerprint) or _NOTHING
        if last.identity is None and last.refused is None:
            kept = await self._me.stale(secret, newer_than=last.stamp)
            last = last if kept is None else self._learnt(kept)
        return last._replace(quiet_until=self.clock() + fault.pause, fault=fault.why)
