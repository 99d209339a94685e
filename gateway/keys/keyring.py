"""The keys of one configuration: which secret serves a request, and what is known of each."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.core.decision import Permit, choose_key
from gateway.core.key_faults import KeyFault, fault_of_answer
from gateway.core.refusal import Code, Refused
from gateway.core.rotation import candidates
from gateway.core.routing import Route, Standing
from gateway.core.secret import HeldSecrets, Secret
from gateway.keys.choices import Choices
from gateway.keys.identity import Known
from gateway.keys.key_state import Chosen, KeyState
from gateway.keys.verifier import QUESTIONS, KeyVerifier
from gateway.telemetry.events.keys import IdentityLookup

__all__ = ["Chosen", "Keyring"]

# An identity younger than this is not asked for again before a caller is refused because no key has the scope.
FRESH_ENOUGH: Final = 5.0


class _Standings:
    """How each key of a route stands now, and the secret that it would serve with, with what is known of it."""

    __slots__ = ("by_key", "secrets")

    def __init__(self, keys: Iterable[str]) -> None:
        self.by_key = dict.fromkeys(keys, _MISSING)
        self.secrets: dict[str, tuple[Chosen, Known]] = {}

    def serves(self, chosen: Chosen, known: Known) -> None:
        """The key would serve with this secret."""
        self.secrets[chosen.key] = chosen, known
        self.by_key[chosen.key] = Standing(None if known.identity is None else known.identity.scopes)

    def refused(self, key: str, fault: KeyFault) -> None:
        """No secret of the key can serve."""
        self.by_key[key] = Standing(refused=fault)


_MISSING: Final = Standing(refused=KeyFault.MISSING)


class Keyring:
    """The keys of one configuration. `gateway.core.rotation` says which secret of a key serves.

    ``states`` are what ``verifier`` has adopted for the configuration; a keyring only reads them.
    """

    def __init__(self, states: Mapping[str, KeyState], verifier: KeyVerifier) -> None:
        self.verifier: Final = verifier
        self.identities: Final = verifier.identities
        self._states: Final = states
        self._choices: Final = Choices(self.identities)
        # The last choice for the same, where nothing that it came from has changed.
        self.choose_again: Final[Callable[[Permit], Chosen | None]] = self._choices.find

    async def choose(self, permit: Permit) -> Chosen:
        """The secret that serves a permitted request.

        Before ``scope_required`` is let out, identities older than `FRESH_ENOUGH` seconds are asked for once more.
        Raises `Refused` as `choose_key` does.
        """
        route = permit.route
        if (chosen := self.choose_again(permit)) is not None:
            return chosen
        cached = self._cached(route)
        standings = cached or await self._resolve(route)
        try:
            chosen = standings.secrets[choose_key(permit, standings.by_key)][0]
        except Refused as refused:
            if refused.code is not Code.SCOPE_REQUIRED or not await self._refresh(standings):
                raise
        else:
            if cached is not None:
                states = [self._states[name] for name in route.keys]
                self._choices.keep(permit, chosen, states, {key: known for key, (_, known) in cached.secrets.items()})
            return chosen
        standings = self._cached(route) or await self._resolve(route)
        return standings.secrets[choose_key(permit, standings.by_key)][0]

    async def me(self, permit: Permit) -> tuple[Chosen, Known]:
        """The secret that a permitted ``GET /me`` is about, and what is known of it; its identity may be unknown.

        Raises `Refused` where no key of the route can be used.
        """
        standings = self._cached(permit.route) or await self._resolve(permit.route)
        return standings.secrets[choose_key(permit, standings.by_key)]

    def answered(self, chosen: Chosen, status: int, code: str | None) -> None:
        """Note an answer of Productlane that is about the secret: refused (401, 410), or without a scope (403).

        Nobody waits for what follows: ``/me`` is asked in the background. After a second refusal another secret of the
        key serves, if there is one, until ``/me`` has answered.
        """
        if fault_of_answer(status, code or ""):
            self.verifier.refused(self._states[chosen.key], chosen.secret)
        elif status == 403 and code == "scope_required":
            self.verifier.lacks_scope(self._states[chosen.key], chosen.secret)

    async def another(self, chosen: Chosen) -> Chosen | None:
        """The best other secret of the same key, verified where ``/me`` can be asked; None where there is none."""
        key_state = self._states[chosen.key]
        asked = {chosen.secret}
        while True:
            secret = next((s for s in candidates(key_state.rotation) if s != chosen.secret), None)
            if secret is None:
                return None
            if self.identities.peek(secret) is None and secret not in asked:
                asked.add(secret)
                await self.verifier.lookup(key_state, secret)
                continue
            slot = key_state.slot_of(secret)
            return None if slot is None else Chosen(key_state.name, slot, secret)

    def used(self, chosen: Chosen) -> None:
        """Count a request that is sent with this secret now."""
        self._states[chosen.key].used(chosen.secret, self.verifier.wall())

    async def prefetch(self) -> None:
        """Look every secret up, a few at a time."""
        room = asyncio.Semaphore(QUESTIONS)

        async def look(key_state: KeyState, secret: Secret) -> None:
            async with room:
                await self.verifier.lookup(key_state, secret)

        await asyncio.gather(
            *(
                look(key_state, secret)
                for key_state in self._states.values()
                for secret in tuple(key_state.rotation.known)
            )
        )

    @property
    def secrets(self) -> HeldSecrets:
        """Every secret that is held, to be kept out of answers."""
        return self.identities.secrets

    @property
    def states(self) -> tuple[KeyState, ...]:
        """The state of every key, in the order of the configuration."""
        return tuple(self._states.values())

    def report_lookups(self) -> None:
        """Report the look-ups that were only counted at the time."""
        self._choices.report()

    def retire(self) -> None:
        """Another takes its place. What comes late is chosen for anew each time, so that no look-up stays uncounted."""
        self._choices.retire()

    def _cached(self, route: Route) -> _Standings | None:
        """The standings of the route's keys from memory; None if one of their identities is unknown or too old."""
        standings = _Standings(route.keys)
        for name in route.keys:
            key_state = self._states[name]
            if key_state.chosen is None:
                standings.refused(name, key_state.refusal)
                continue
            known = self.identities.peek(key_state.chosen.secret) if key_state.verified else None
            if known is None or known.refused is not None:
                return None
            standings.serves(key_state.chosen, known)
        for key, (_, known) in standings.secrets.items():
            self.identities.emit(IdentityLookup(key, known.result))
        return standings

    async def _resolve(self, route: Route) -> _Standings:
        """The standings of the route's keys; asks `/me` if necessary, for all keys at once and for one key in order."""
        standings = _Standings(route.keys)
        await asyncio.gather(*(self._resolve_key(self._states[name], standings) for name in route.keys))
        return standings

    async def _resolve_key(self, key_state: KeyState, standings: _Standings) -> None:
        # Each look-up can make another secret the one that serves, and none is looked up twice for one request.
        seen: dict[Secret, Known] = {}
        while (chosen := key_state.chosen) is not None and chosen.secret not in seen:
            seen[chosen.secret] = await self.verifier.lookup(key_state, chosen.secret)
        known = None if chosen is None else seen[chosen.secret]
        if chosen is None or known is None or known.refused is not None:
            standings.refused(key_state.name, (known and known.refused) or key_state.refusal)
        else:
            standings.serves(chosen, known)

    async def _refresh(self, standings: _Standings) -> bool:
        """Ask again for identities that are too old to refuse a caller; returns whether there were any."""
        old = [
            chosen
            for chosen, known in standings.secrets.values()
            if known.identity is not None and known.age > FRESH_ENOUGH
        ]
        lookups = (self.verifier.lookup(self._states[chosen.key], chosen.secret, fresh=True) for chosen in old)
        await asyncio.gather(*lookups)
        return bool(old)
