"""The secrets of every key: which of them serves a request, and what is known of each."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gateway.config.snapshot import Key
from gateway.core.policy import Permit
from gateway.core.refusal import Code, Refused
from gateway.core.routing import Route, Standing, choose_key, narrowest_key
from gateway.core.secret import Secret
from gateway.keys.identity import Identities, Known
from gateway.keys.storage import Clock

# An identity younger than this is not asked for again before a caller is told that no key has the scope.
FRESH_ENOUGH: Final = 5.0
PREFETCHES: Final = 8

State = Literal["unverified", "active", "standby", "rejected", "unsupported", "wrong_workspace", "missing"]

_REFUSED: Final[dict[str, State]] = {
    "unauthenticated": "rejected",
    "unsupported_key_version": "unsupported",
    "wrong_workspace": "wrong_workspace",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A secret to send a request with; ``slot`` is its place in the key's ``secrets``, from ``"1"``."""

    key: str
    slot: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class SlotState:
    """What is known of one place in a key's ``secrets``. ``last_used`` is Unix seconds, None where it never was.

    ``known`` is the last that was learnt, however old; None before anything was, or where the secret is missing.
    """

    key: str
    slot: str
    secret: Secret | None
    state: State
    known: Known | None
    last_used: float | None


class _Hand:
    """A route's keys at this moment: how each stands, and the secret that it stands by with what is known of it."""

    __slots__ = ("secrets", "standings")

    def __init__(self, keys: Iterable[str]) -> None:
        self.standings = dict.fromkeys(keys, _MISSING)
        self.secrets: dict[str, tuple[Chosen, Known]] = {}

    def take(self, chosen: Chosen, known: Known, refused: str | None) -> bool:
        """Let the key stand by this secret; whether it can be used. Of refused ones the first is told of."""
        if refused is None or chosen.key not in self.secrets:
            self.secrets[chosen.key] = chosen, known
            scopes = None if known.identity is None else known.identity.scopes
            self.standings[chosen.key] = Standing(scopes, refused)
        return refused is None


_MISSING: Final = Standing(refused="missing")


class Keyring:
    """The keys of one configuration. Of a key's secrets the first in order that is not refused is the one in use.

    ``wall`` gives Unix seconds.
    """

    def __init__(self, keys: Mapping[str, Key], identities: Identities, *, wall: Clock = time.time) -> None:
        self._keys: Final = dict(keys)
        self._identities: Final = identities
        self._wall: Final = wall
        self._secrets: Final = {
            key.name: tuple(
                Chosen(key.name, str(slot.place), slot.secret) for slot in key.slots if slot.secret is not None
            )
            for key in keys.values()
        }
        self._last_used: Final[dict[tuple[str, str], float]] = {}

    async def choose(self, route: Route, permit: Permit) -> Chosen:
        """The secret that serves a permitted request.

        Before ``scope_required`` is let out, identities older than `FRESH_ENOUGH` seconds are asked for once more.
        Raises `Refused` as `choose_key` does.
        """
        hand = self._glance(route) or await self._look(route)
        try:
            return hand.secrets[choose_key(route, permit, hand.standings)][0]
        except Refused as refused:
            if refused.code is not Code.SCOPE_REQUIRED or not await self._refresh(hand):
                raise
        hand = self._glance(route) or await self._look(route)
        return hand.secrets[choose_key(route, permit, hand.standings)][0]

    async def me(self, route: Route) -> tuple[Chosen, Known]:
        """The secret that a caller's ``GET /me`` is about, and what is known of it; its identity may be unknown.

        Raises `Refused` where no key of the route can be used.
        """
        hand = self._glance(route) or await self._look(route)
        return hand.secrets[narrowest_key(route, hand.standings)]

    def answered(self, chosen: Chosen, status: int, code: str | None) -> None:
        """Take note of an answer from upstream: 401, 410 and 403 ``scope_required`` drop the secret's identity."""
        if status in (401, 410) or (status == 403 and code == "scope_required"):
            self._identities.forget(chosen.secret)

    def used(self, chosen: Chosen) -> None:
        """Take note that a request is sent with this secret now."""
        self._last_used[chosen.key, chosen.slot] = self._wall()

    async def prefetch(self) -> None:
        """Look every secret up, a few at a time."""
        room = asyncio.Semaphore(PREFETCHES)

        async def look(chosen: Chosen) -> None:
            async with room:
                await self._identities.lookup(chosen.key, chosen.secret)

        await asyncio.gather(*(look(chosen) for secrets in self._secrets.values() for chosen in secrets))

    def states(self) -> list[SlotState]:
        """Every slot of every key, from what is remembered; nothing is asked.

        The first secret in order that is verified is ``active``, further ones are ``standby``.
        """
        states = []
        for key in self._keys.values():
            active = False
            for slot in key.slots:
                known = None if slot.secret is None else self._identities.recall(slot.secret)
                state = "missing" if slot.secret is None else self._state(key.name, known, active)
                active = active or state == "active"
                place = str(slot.place)
                used = self._last_used.get((key.name, place))
                states.append(SlotState(key.name, place, slot.secret, state, known, used))
        return states

    def _state(self, key: str, known: Known | None, active: bool) -> State:
        if known is None:
            return "unverified"
        refused = self._refused(key, known)
        if refused is not None:
            return _REFUSED[refused]
        if known.identity is None:
            return "unverified"
        return "standby" if active else "active"

    def _refused(self, key: str, known: Known) -> str | None:
        """Productlane's refusal, or ``wrong_workspace`` where the key is pinned to another."""
        pin = self._keys[key].workspace
        if pin is not None and known.identity is not None and known.identity.workspace != pin:
            return "wrong_workspace"
        return known.refused

    def _glance(self, route: Route) -> _Hand | None:
        """How the route's keys stand, where all that takes is remembered and fresh."""
        hand = _Hand(route.keys)
        for key in route.keys:
            for chosen in self._secrets[key]:
                known = self._identities.peek(chosen.secret)
                if known is None:
                    return None
                if hand.take(chosen, known, self._refused(key, known)):
                    break
        for key, (_, known) in hand.secrets.items():
            self._identities.on_lookup(key, known.result)
        return hand

    async def _look(self, route: Route) -> _Hand:
        """How the route's keys stand, asking where it must: keys side by side, the secrets of a key in order."""
        hand = _Hand(route.keys)

        async def stand(key: str) -> None:
            for chosen in self._secrets[key]:
                known = await self._identities.lookup(key, chosen.secret)
                if hand.take(chosen, known, self._refused(key, known)):
                    break

        await asyncio.gather(*(stand(key) for key in route.keys))
        return hand

    async def _refresh(self, hand: _Hand) -> bool:
        """Ask anew for the identities that are not fresh enough to refuse a caller by; whether there were any."""
        old = [
            chosen for chosen, known in hand.secrets.values() if known.identity is not None and known.age > FRESH_ENOUGH
        ]
        await asyncio.gather(*(self._identities.lookup(chosen.key, chosen.secret, fresh=True) for chosen in old))
        return bool(old)
