"""The keys of one configuration: which secret serves a request, and what is known of each."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from gateway.config.assembly.snapshot import Key
from gateway.core.decision import Permit, choose_key
from gateway.core.key_faults import KeyFault, fault_of_status
from gateway.core.refusal import Code, Refused
from gateway.core.rotation import Rotation, candidates
from gateway.core.routing import Route, Standing
from gateway.core.secret import HeldSecrets, Secret
from gateway.keys.held import Chosen, Held, OnChange
from gateway.keys.identity import Identities, Known
from gateway.keys.keeper import QUESTIONS, Keeper, Needs, Outage, ignore, ignore_outage
from gateway.keys.store import Clock

__all__ = ["Chosen", "Keyring"]

# An identity younger than this is not asked for again before a caller is told that no key has the scope.
FRESH_ENOUGH: Final = 5.0


class _Hand:
    """A route's keys at this moment: how each stands, and the secret that it stands by with what is known of it."""

    __slots__ = ("secrets", "standings")

    def __init__(self, keys: Iterable[str]) -> None:
        self.standings = dict.fromkeys(keys, _MISSING)
        self.secrets: dict[str, tuple[Chosen, Known]] = {}

    def take(self, chosen: Chosen, known: Known) -> None:
        """Let the key stand by this secret."""
        self.secrets[chosen.key] = chosen, known
        self.standings[chosen.key] = Standing(None if known.identity is None else known.identity.scopes)

    def pass_over(self, key: str, refused: KeyFault) -> None:
        """Let the key be one of which no secret serves."""
        self.standings[key] = Standing(refused=refused)


_MISSING: Final = Standing(refused=KeyFault.MISSING)


class _Choice(NamedTuple):
    """What was chosen, and what it came from: how the keys stood, whose identities were looked up, and how often what
    is known of identities had changed by then. It is good ``until`` a moment of the identities' clock.
    """

    chosen: Chosen
    stood: tuple[tuple[Held, Rotation], ...]
    looked_up: tuple[str, ...]
    changes: int
    until: float


class Keyring:
    """The keys of one configuration. Which secret of a key serves is for `gateway.core.rotation` to say.

    ``after`` is the keyring of the configuration before: what is known of a key of the same name goes on, and so does
    its `keeper`, whose settings it was made with hold. ``needs`` are what policies ask of the keys, and ``number`` is
    that of the reading that ``keys`` come from; ``elsewhere`` is as for `Keeper.hold`. The other arguments are those of
    `Keeper`.
    """

    def __init__(
        self,
        keys: Mapping[str, Key],
        identities: Identities,
        *,
        needs: Needs = frozenset(),
        after: "Keyring | None" = None,
        number: int | None = None,
        elsewhere: bool = False,
        prefetch: bool = False,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        on_change: OnChange = ignore,
        on_outage: Callable[[Outage], None] = ignore_outage,
    ) -> None:
        if after is None:
            self.keeper = Keeper(identities, clock=clock, wall=wall, on_change=on_change, on_outage=on_outage)
        else:
            self.keeper = after.keeper
            self.keeper.identities = identities
        self.keeper.prefetch = prefetch
        number = self.keeper.begin_reading() if number is None else number
        self.identities: Final = identities
        self._held: Final = self.keeper.hold(keys, needs, number, elsewhere=elsewhere)
        self._choices: Final[dict[tuple[tuple[str, ...], frozenset[str]], _Choice]] = {}

    async def choose(self, permit: Permit) -> Chosen:
        """The secret that serves a permitted request.

        Before ``scope_required`` is let out, identities older than `FRESH_ENOUGH` seconds are asked for once more.
        Raises `Refused` as `choose_key` does.
        """
        route = permit.route
        if (chosen := self._choose_again(permit)) is not None:
            return chosen
        glance = self._glance(route)
        hand = glance or await self._look(route)
        try:
            chosen = hand.secrets[choose_key(permit, hand.standings)][0]
        except Refused as refused:
            if refused.code is not Code.SCOPE_REQUIRED or not await self._refresh(hand):
                raise
        else:
            if glance is not None:
                self._remember(permit, glance, chosen)
            return chosen
        hand = self._glance(route) or await self._look(route)
        return hand.secrets[choose_key(permit, hand.standings)][0]

    async def me(self, permit: Permit) -> tuple[Chosen, Known]:
        """The secret that a permitted ``GET /me`` is about, and what is known of it; its identity may be unknown.

        Raises `Refused` where no key of the route can be used.
        """
        hand = self._glance(permit.route) or await self._look(permit.route)
        return hand.secrets[choose_key(permit, hand.standings)]

    def answered(self, chosen: Chosen, status: int, code: str | None) -> None:
        """Take note of an answer from upstream: 401, 410 and 403 ``scope_required`` drop the secret's identity.

        After 401 and 410 another secret of the key serves, if there is one, until ``/me`` has been asked.
        """
        if fault_of_status(status):
            self.keeper.refused(self._held[chosen.key], chosen.secret)
        elif status == 403 and code == "scope_required":
            self.identities.forget(chosen.secret)

    async def another(self, chosen: Chosen) -> Chosen | None:
        """The best other secret of the same key, verified where ``/me`` can be asked; None where there is none."""
        held = self._held[chosen.key]
        asked = {chosen.secret}
        while True:
            secret = next((s for s in candidates(held.rotation) if s != chosen.secret), None)
            if secret is None:
                return None
            if self.identities.peek(secret) is None and secret not in asked:
                asked.add(secret)
                await self.keeper.lookup(held, secret)
                continue
            slot = held.slot_of(secret)
            return None if slot is None else Chosen(held.name, slot, secret)

    def used(self, chosen: Chosen) -> None:
        """Take note that a request is sent with this secret now."""
        self._held[chosen.key].used(chosen.secret, self.keeper.wall())

    async def prefetch(self) -> None:
        """Look every secret up, a few at a time."""
        room = asyncio.Semaphore(QUESTIONS)

        async def look(held: Held, secret: Secret) -> None:
            async with room:
                await self.keeper.lookup(held, secret)

        await asyncio.gather(
            *(look(held, secret) for held in self._held.values() for secret in tuple(held.rotation.known))
        )

    @property
    def secrets(self) -> HeldSecrets:
        """Every secret that is held, to be kept out of answers."""
        return self.identities.secrets

    @property
    def cells(self) -> tuple[Held, ...]:
        """The cell of every key, in the order of the configuration."""
        return tuple(self._held.values())

    def _choose_again(self, permit: Permit) -> Chosen | None:
        """The last choice among the same keys for the same scopes, where nothing that it came from has changed."""
        choice = self._choices.get((permit.route.keys, permit.endpoint.scopes))
        if choice is None or choice.changes != self.identities.changes or self.identities.clock() >= choice.until:
            return None
        for held, rotation in choice.stood:
            if held.rotation is not rotation:
                return None
        for key in choice.looked_up:
            self.identities.on_lookup(key, "hit")
        return choice.chosen

    def _remember(self, permit: Permit, hand: _Hand, chosen: Chosen) -> None:
        """Keep a choice that came of a glance."""
        left = self.identities.ttl - max(known.age for _, known in hand.secrets.values())
        self._choices[permit.route.keys, permit.endpoint.scopes] = _Choice(
            chosen,
            stood=tuple((held, held.rotation) for held in (self._held[name] for name in permit.route.keys)),
            looked_up=tuple(hand.secrets),
            changes=self.identities.changes,
            until=self.identities.clock() + left,
        )

    def _glance(self, route: Route) -> _Hand | None:
        """How the route's keys stand, where all that takes is remembered and fresh."""
        hand = _Hand(route.keys)
        for name in route.keys:
            held = self._held[name]
            if held.chosen is None:
                hand.pass_over(name, held.refusal)
                continue
            known = self.identities.peek(held.chosen.secret) if held.verified else None
            if known is None or known.refused is not None:
                return None
            hand.take(held.chosen, known)
        for key, (_, known) in hand.secrets.items():
            self.identities.on_lookup(key, known.result)
        return hand

    async def _look(self, route: Route) -> _Hand:
        """How the route's keys stand, asking where it must: keys side by side, the secrets of a key in order."""
        hand = _Hand(route.keys)
        await asyncio.gather(*(self._stand(self._held[name], hand) for name in route.keys))
        return hand

    async def _stand(self, held: Held, hand: _Hand) -> None:
        # Each look-up can make another secret the one that serves, and none is looked up twice for one request.
        seen: dict[Secret, Known] = {}
        while (chosen := held.chosen) is not None and chosen.secret not in seen:
            seen[chosen.secret] = await self.keeper.lookup(held, chosen.secret)
        known = None if chosen is None else seen[chosen.secret]
        if chosen is None or known is None or known.refused is not None:
            hand.pass_over(held.name, (known and known.refused) or held.refusal)
        else:
            hand.take(chosen, known)

    async def _refresh(self, hand: _Hand) -> bool:
        """Ask anew for the identities that are not fresh enough to refuse a caller by; whether there were any."""
        old = [
            chosen for chosen, known in hand.secrets.values() if known.identity is not None and known.age > FRESH_ENOUGH
        ]
        lookups = (self.keeper.lookup(self._held[chosen.key], chosen.secret, fresh=True) for chosen in old)
        await asyncio.gather(*lookups)
        return bool(old)
