"""Choices of a secret that were made from memory, so that the same one is not made again step by step."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.core.decision import Permit
from gateway.core.rotation import Rotation
from gateway.keys.identity import Identities, Known
from gateway.keys.key_state import Chosen, KeyState
from gateway.telemetry.events.keys import IdentityLookup


class _Choice:
    """A choice of a secret, with everything it depends on: it counts as long as none of that changes.

    That is the rotation of each key, the identities that were looked up (``changes`` counts their changes), and the
    time: the choice counts ``until`` a moment of the identities' clock. ``again`` is how often it was made once more.
    """

    __slots__ = ("again", "changes", "chosen", "looked_up", "stood", "until")

    def __init__(
        self,
        chosen: Chosen,
        *,
        stood: tuple[tuple[KeyState, Rotation], ...],
        looked_up: tuple[str, ...],
        changes: int,
        until: float,
    ) -> None:
        self.chosen: Final = chosen
        self.stood: Final = stood
        self.looked_up: Final = looked_up
        self.changes: Final = changes
        self.until: Final = until
        self.again = 0


class Choices:
    """The choices of one keyring, by the keys of the route and the scopes that the endpoint needs.

    Each is a look-up of identities, as the choice that it repeats. These are counted here and reported later; they must
    be before what counts them is read, and before the names of keys change.
    """

    __slots__ = ("_identities", "_kept", "_retired")

    def __init__(self, identities: Identities) -> None:
        self._identities: Final = identities
        self._kept: Final[dict[tuple[tuple[str, ...], frozenset[str]], _Choice]] = {}
        self._retired = False

    def find(self, permit: Permit) -> Chosen | None:
        """The last choice among the same keys for the same scopes, where nothing that it came from has changed."""
        choice = self._kept.get((permit.route.keys, permit.ask.endpoint.scopes))
        if choice is None:
            return None
        identities = self._identities
        if choice.changes != identities.changes or identities.clock() >= choice.until:
            return None
        for key_state, rotation in choice.stood:
            if key_state.rotation is not rotation:
                return None
        choice.again += 1
        return choice.chosen

    def keep(self, permit: Permit, chosen: Chosen, states: Iterable[KeyState], looked_up: Mapping[str, Known]) -> None:
        """Keep a choice. ``states`` are those of the route's keys, ``looked_up`` is what was known, by key."""
        if self._retired:
            return
        self.report()
        left = self._identities.ttl - max(known.age for known in looked_up.values())
        self._kept[permit.route.keys, permit.endpoint.scopes] = _Choice(
            chosen,
            stood=tuple((state, state.rotation) for state in states),
            looked_up=tuple(looked_up),
            changes=self._identities.changes,
            until=self._identities.clock() + left,
        )

    def report(self) -> None:
        """Report the look-ups that were counted."""
        for choice in self._kept.values():
            times, choice.again = choice.again, 0
            for key in choice.looked_up if times else ():
                self._identities.emit(IdentityLookup(key, "hit", times))

    def retire(self) -> None:
        """Report what was counted, and keep nothing from now on."""
        self.report()
        self._kept.clear()
        self._retired = True
