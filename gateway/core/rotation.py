"""Which of a key's secrets serves, by what is known of each.

A key has slots in order of preference. Each slot has a secret, also called its value.
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Final, Literal, NamedTuple

from gateway.core.key_faults import KeyFault
from gateway.core.secret import Secret

State = Literal["unverified", "active", "standby"] | KeyFault

# The slot of a secret that is in no file any more and stays in memory.
REPLACED: Final = "replaced"


class Slot(NamedTuple):
    """A slot and its secret, which it has had ``since`` a moment.

    ``fault`` is that of the latest reading. If that found no secret, ``unreadable`` is true, and an older one may stay.
    """

    name: str
    source: str
    secret: Secret | None
    since: float
    fault: str = ""
    number: int = 0
    unreadable: bool = False

    @property
    def source_fault(self) -> bool:
        """Whether the secret is in memory only: its file is gone or unusable, so a restart would not find it."""
        return self.unreadable and self.secret is not None


class Finding(NamedTuple):
    """The answer of ``/me`` about a secret: the fault if Productlane refuses it, else its workspace and scopes."""

    refused: KeyFault | None = None
    workspace: str = ""
    scopes: frozenset[str] = frozenset()


class Dossier(NamedTuple):
    """Everything that is known of a secret.

    ``suspected`` after one answer that refused it, ``doubted`` after a second one. Answers of ``/me`` from before
    ``epoch`` do not count. ``tries`` counts faults or refusals in a row, ``due`` is when to ask again. Up to
    ``sure_until``, no answer to a request is a reason to ask.
    """

    finding: Finding | None = None
    suspected: bool = False
    doubted: bool = False
    epoch: int = 0
    tries: int = 0
    due: float = inf
    sure_until: float = -inf


UNKNOWN: Final = Dossier()
_NOTHING_KNOWN: Final[Mapping[Secret, Dossier]] = {}


class Rotation(NamedTuple):
    """A key's values at one moment.

    ``needed`` are the sets of scopes that routes and policies ask of this key; ``pin`` is the workspace that it has to
    belong to and ``workspace`` the one that it was found to belong to. ``replaced`` stands behind the slot numbered
    ``behind``, where it came from. ``current`` is the value that serves, None where none can.
    """

    pin: str | None = None
    needed: frozenset[frozenset[str]] = frozenset()
    slots: tuple[Slot, ...] = ()
    replaced: Slot | None = None
    behind: int = 0
    known: Mapping[Secret, Dossier] = _NOTHING_KNOWN
    workspace: str | None = None
    current: Secret | None = None
    epoch: int = 0

    @property
    def all_slots(self) -> tuple[Slot, ...]:
        """Every slot, the one of the replaced value last."""
        return self.slots if self.replaced is None else (*self.slots, self.replaced)

    def dossier(self, secret: Secret) -> Dossier:
        return self.known.get(secret, UNKNOWN)


# Ranks of values that may be sent, the best one first. A doubted one is refused by now, as far as anybody can tell.
SUFFICES: Final = 0
FALLS_SHORT: Final = 1
UNVERIFIED: Final = 2
DOUBTED: Final = 3


def candidates(rotation: Rotation) -> tuple[Secret, ...]:
    """The values that may be sent, best first.

    Those that ``/me`` vouched for come before those that it could not be asked about, those that carry all that routes
    and policies need of the key before those that carry less, and what serves already before another unverified one.
    """
    ranked: dict[Secret, tuple[int, bool, int]] = {}
    for n, slot in enumerate(in_order(rotation)):
        if slot.secret is None or slot.secret in ranked:
            continue
        rank = rank_of(rotation, slot.secret)
        if rank is not None:
            newcomer = rank == SUFFICES or slot.secret != rotation.current
            ranked[slot.secret] = rank, newcomer, n
    return tuple(sorted(ranked, key=lambda secret: ranked[secret]))


def state(rotation: Rotation, slot: Slot) -> State:
    """How a slot stands. Of a value that is at two slots, the first one shows it as ``active``."""
    if slot.secret is None:
        return KeyFault.MISSING
    dossier = rotation.dossier(slot.secret)
    finding = dossier.finding
    if finding is not None and finding.refused is not None:
        return finding.refused
    if finding is None or dossier.doubted:
        return "unverified"
    if is_foreign(rotation, finding):
        return KeyFault.WRONG_WORKSPACE
    first = next(one for one in in_order(rotation) if one.secret == slot.secret)
    return "active" if slot.secret == rotation.current and slot == first else "standby"


def refusal(rotation: Rotation) -> KeyFault:
    """Why no value can serve: the fault of the first that is there, else ``missing``."""
    for slot in in_order(rotation):
        if slot.secret is not None:
            finding = rotation.dossier(slot.secret).finding
            return (finding and finding.refused) or KeyFault.WRONG_WORKSPACE
    return KeyFault.MISSING


def reason(rotation: Rotation, slot: Slot) -> str:
    """Why the value at a slot does not serve, in words; empty for one that does, or that could."""
    dossier = rotation.dossier(slot.secret) if slot.secret is not None else UNKNOWN
    finding = dossier.finding
    if dossier.doubted:
        return "a request with it was refused; `/me` is asked"
    if finding is None:
        return ""
    if finding.refused is not None:
        return finding.refused.meaning
    if is_foreign(rotation, finding):
        return f"it belongs to workspace {finding.workspace}, the key to {rotation.pin or rotation.workspace}"
    if (lacking := _lacking(rotation, finding)) and _is_passed_over(rotation, slot):
        return f"it lacks {', '.join(sorted(lacking))}, which another secret carries and policies need"
    return ""


def rank_of(rotation: Rotation, secret: Secret) -> int | None:
    """How good a value is to be sent; None where it cannot be sent at all."""
    dossier = rotation.dossier(secret)
    finding = dossier.finding
    if finding is not None and (finding.refused is not None or is_foreign(rotation, finding)):
        return None
    if dossier.doubted:
        return DOUBTED
    if finding is None:
        return UNVERIFIED
    return FALLS_SHORT if _lacking(rotation, finding) else SUFFICES


def is_refused(rotation: Rotation, secret: Secret) -> bool:
    """Whether ``/me`` answered 401 or 410 for the value."""
    finding = rotation.dossier(secret).finding
    return finding is not None and finding.refused is not None


def is_foreign(rotation: Rotation, finding: Finding) -> bool:
    """Whether a value belongs to another workspace than the key."""
    ours = rotation.pin or rotation.workspace
    return ours is not None and finding.workspace != ours


def _is_passed_over(rotation: Rotation, slot: Slot) -> bool:
    """Whether a slot would serve for its rank, had it all that is needed."""
    secrets = [one.secret for one in in_order(rotation)]
    return rotation.current is not None and secrets.index(slot.secret) < secrets.index(rotation.current)


def _lacking(rotation: Rotation, finding: Finding) -> frozenset[str]:
    """The scopes that are needed and that another good value of the key carries while this one does not.

    A scope that no value of the key carries holds none back: that is drift, and reported as drift.
    """
    good = [
        dossier.finding.scopes
        for dossier in rotation.known.values()
        if dossier.finding is not None
        and dossier.finding.refused is None
        and not dossier.doubted
        and not is_foreign(rotation, dossier.finding)
    ]
    wanted = (need for need in rotation.needed if any(need <= scopes for scopes in good))
    return frozenset[str]().union(*wanted) - finding.scopes


def in_order(rotation: Rotation) -> Iterator[Slot]:
    """The slots by preference: the replaced value right behind the one that took its slot."""
    for n, slot in enumerate(rotation.slots):
        yield slot
        if n == rotation.behind and rotation.replaced is not None:
            yield rotation.replaced
