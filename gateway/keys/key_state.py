"""The state of one key in this process: its secrets, which of them serves, and when each was used."""

from typing import Final, NamedTuple

from gateway.core.key_faults import KeyFault
from gateway.core.rotation import (
    FALLS_SHORT,
    SUFFICES,
    Rotation,
    State,
    rank_of,
    reason,
    refusal,
    state,
)
from gateway.core.secret import Secret
from gateway.keys.uses import Uses
from gateway.telemetry.event import Emit
from gateway.telemetry.events.keys import SecretStateChanged

# The reported state of a replaced secret that has left memory.
FORGOTTEN: Final = "forgotten"


class Chosen(NamedTuple):
    """A secret to send a request with; ``slot`` is its place in the key's ``secrets`` from ``"1"``, or ``replaced``."""

    key: str
    slot: str
    secret: Secret


class KeyState:
    """The state of one key. `become` is the only way to change it; it reports each slot whose state changed.

    ``chosen`` is the secret that serves, None for none; ``verified`` says whether ``/me`` has vouched for it.
    """

    __slots__ = ("_emit", "_shown", "_uses", "chosen", "name", "rotation", "verified")

    def __init__(self, name: str, rotation: Rotation, emit: Emit) -> None:
        self.name: Final = name
        self._emit = emit
        # By fingerprint, which is compared faster than a secret.
        self._uses: dict[str, Uses] = {}
        self._take(rotation)
        self._shown = self._show()

    def become(self, rotation: Rotation) -> None:
        """Take the key's new rotation, and report each slot whose state changed."""
        if rotation is self.rotation:
            return
        self._take(rotation)
        for fingerprint in self._uses.keys() - {secret.fingerprint for secret in rotation.known}:
            del self._uses[fingerprint]
        before, self._shown = self._shown, self._show()
        for change in _changes(self.name, before, self._shown):
            self._emit(change)

    def used(self, secret: Secret, now: float) -> None:
        """Count a request that is sent with a secret of this key; ``now`` is Unix time in seconds."""
        uses = self._uses.get(secret.fingerprint)
        if uses is None:
            uses = self._uses[secret.fingerprint] = Uses()
        uses.count(now)

    def uses(self, secret: Secret) -> Uses:
        return self._uses.get(secret.fingerprint) or Uses()

    def slot_of(self, secret: Secret) -> str | None:
        """The first slot that holds the secret; None if no slot does."""
        return next((slot.name for slot in self.rotation.all_slots if slot.secret == secret), None)

    @property
    def refusal(self) -> KeyFault:
        """Why no secret serves."""
        return refusal(self.rotation)

    def _take(self, rotation: Rotation) -> None:
        self.rotation = rotation
        current = rotation.current
        slot = None if current is None else self.slot_of(current)
        self.chosen = None if current is None or slot is None else Chosen(self.name, slot, current)
        self.verified = current is not None and rank_of(rotation, current) in (SUFFICES, FALLS_SHORT)

    def _show(self) -> "dict[str, _Shown]":
        rotation = self.rotation
        return {
            slot.name: _Shown(
                slot.secret, state(rotation, slot), "; ".join(filter(None, (reason(rotation, slot), slot.fault)))
            )
            for slot in rotation.all_slots
        }


class _Shown(NamedTuple):
    """What is reported of a slot."""

    secret: Secret | None
    state: State
    reason: str

    @property
    def preview(self) -> str:
        return self.secret.preview if self.secret is not None else ""


def _changes(key: str, before: dict[str, _Shown], now: dict[str, _Shown]) -> list[SecretStateChanged]:
    changes = []
    for slot, shown in now.items():
        old = before.get(slot)
        if old != shown:
            previous = old.state if old is not None and old.secret == shown.secret else ""
            alarming = isinstance(shown.state, KeyFault) or bool(shown.reason)
            changes.append(SecretStateChanged(key, slot, shown.preview, previous, shown.state, shown.reason, alarming))
    for slot in before.keys() - now.keys():
        gone = before[slot]
        changes.append(SecretStateChanged(key, slot, gone.preview, gone.state, FORGOTTEN, "", False))
    return changes
