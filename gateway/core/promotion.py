"""How the secrets of a key change: each event makes a new `Rotation` from the old one.

The events: the slots were read (`begin`, `arrange`), ``/me`` answered (`learn`), a request was refused (`doubt`).
"""

from collections.abc import Iterable
from math import inf
from typing import Final, NamedTuple

from gateway.core.rotation import (
    REPLACED,
    UNVERIFIED,
    Dossier,
    Finding,
    Rotation,
    Slot,
    candidates,
    in_order,
    is_foreign,
    is_refused,
    rank_of,
)
from gateway.core.secret import Secret

# Seconds until the next question about a secret. Soon after a fault, since a promotion may wait for it; later after a
# refusal, which is most likely final; and now and then about a good secret that no request uses.
FAULT_PAUSE: Final = (1.0, 60.0)
REFUSAL_PAUSE: Final = (10.0, 300.0)
RECHECK: Final = 300.0

# A value that `/me` vouched for after a request was refused is not asked about again for so long, in seconds: where
# Productlane refuses for another reason than the key, each request would cost a question.
RELIEF: Final = 5.0


class Read(NamedTuple):
    """The reading of one slot. ``secret`` is None if there is none to use, and ``fault`` says why.

    ``number`` grows with each reading; of two readings of a slot, the one that began later counts.
    """

    slot: str
    source: str
    secret: Secret | None
    fault: str = ""
    number: int = 0


def begin(
    reads: Iterable[Read],
    *,
    pin: str | None,
    needed: frozenset[frozenset[str]],
    now: float,
    eager: bool,
    epoch: int = 0,
) -> Rotation:
    """A key at its first reading. With ``eager``, every secret is due to be asked about; else when a request wants it.

    Answers from before ``epoch`` do not count.
    """
    slots = tuple(Slot(read.slot, read.source, read.secret, now, read.fault, read.number) for read in reads)
    due = now if eager else inf
    known = {slot.secret: Dossier(epoch=epoch, due=due) for slot in slots if slot.secret is not None}
    return _settled(Rotation(pin, needed, slots, known=known, epoch=epoch))


def arrange(
    old: Rotation, reads: Iterable[Read], now: float, *, pin: str | None, needed: frozenset[frozenset[str]]
) -> Rotation:
    """The key after all its slots were read anew, perhaps under another configuration.

    A slot is known by its source. Where nothing can be read it keeps its value, unless Productlane refuses that; a
    reading that was begun before the latest one of its slot is passed over. A new value is due to be asked about now.
    The value that serves, or else the best one that was displaced, stays in memory.
    """
    before = {slot.source: slot for slot in old.slots}
    since = {slot.secret: slot.since for slot in old.all_slots}
    reads = tuple(reads)
    slots = tuple(
        _placed(old, before.get(read.source), read, now if read.secret is None else since.get(read.secret, now))
        for read in reads
    )
    held = {slot.secret for slot in slots if slot.secret is not None}
    replaced, behind = _kept(old, held, {read.source for read in reads}, len(slots))
    values = held if replaced is None or replaced.secret is None else held | {replaced.secret}
    known = {secret: old.known.get(secret, Dossier(due=now)) for secret in values}
    workspace = old.workspace if pin == old.pin else None
    return _settled(Rotation(pin, needed, slots, replaced, behind, known, workspace, old.current, old.epoch + 1))


def _placed(old: Rotation, slot: Slot | None, read: Read, since: float) -> Slot:
    fresh = Slot(read.slot, read.source, read.secret, since, read.fault, read.number, read.secret is None)
    if slot is None:
        return fresh
    if read.number < slot.number:
        return slot._replace(name=read.slot)
    if slot.secret is None or read.secret not in (None, slot.secret):
        return fresh
    if read.secret is None and is_refused(old, slot.secret):
        return fresh
    return fresh._replace(secret=slot.secret, since=slot.since)


def _kept(old: Rotation, held: set[Secret], sources: set[str], slots: int) -> tuple[Slot | None, int]:
    """The one value that stays in memory of those that are at no slot any more, and where it stands.

    One that was never verified, or that the configuration does not name any more, is kept only where it serves.
    """
    displaced = [*enumerate(old.slots)]
    if old.replaced is not None:
        displaced.append((old.behind, old.replaced))
    worthy: list[tuple[bool, int, int, Slot]] = []
    for n, slot in displaced:
        if slot.secret is None or slot.secret in held:
            continue
        rank, serves = rank_of(old, slot.secret), slot.secret == old.current
        if rank is not None and (serves or (rank < UNVERIFIED and slot.source in sources)):
            worthy.append((not serves, rank, n, slot))
    if not worthy:
        return None, 0
    _, _, behind, slot = min(worthy, key=lambda one: one[:3])
    return slot._replace(name=REPLACED, fault="", unreadable=False), min(behind, max(0, slots - 1))


def learn(old: Rotation, secret: Secret, finding: Finding | None, *, asked: int, now: float, jitter: float) -> Rotation:
    """The key after ``/me`` was asked about a value when ``epoch`` was ``asked``; no finding where nothing was learnt.

    An answer about a value that is not held any more, or that was doubted after the question, changes nothing. A
    ``replaced`` value that Productlane refuses is forgotten where another one serves. ``jitter``, from 0 to 1, spreads
    the next question over 40 % of its delay.
    """
    dossier = old.known.get(secret)
    if dossier is None or asked < dossier.epoch:
        return old
    spread = 0.8 + 0.4 * jitter
    if finding is None:
        delay = _pause(FAULT_PAUSE, dossier.tries)
        learnt = dossier._replace(tries=dossier.tries + 1, due=now + delay * spread)
    elif finding.refused is not None:
        tries = dossier.tries if dossier.finding is not None and dossier.finding.refused else 0
        delay = _pause(REFUSAL_PAUSE, tries)
        learnt = Dossier(finding, epoch=dossier.epoch, tries=tries + 1, due=now + delay * spread)
    else:
        sure = now + RELIEF if dossier.doubted or dossier.suspected else dossier.sure_until
        learnt = Dossier(finding, epoch=dossier.epoch, due=now + RECHECK * spread, sure_until=sure)
    return _forgetful(_settled(old._replace(known={**old.known, secret: learnt})))


def doubt(old: Rotation, secret: Secret, now: float) -> Rotation:
    """The key after Productlane's answer to a request with this value named it as refused.

    After one such answer ``/me`` is due, and the value goes on serving: the endpoint may be at fault. After a second
    one another value serves until ``/me`` says. Nothing changes where the value is refused already, or where ``/me``
    has just vouched for it.
    """
    dossier = old.known.get(secret)
    if dossier is None or dossier.doubted or is_refused(old, secret) or now < dossier.sure_until:
        return old
    if not dossier.suspected:
        suspected = dossier._replace(suspected=True, epoch=old.epoch + 1, due=now)
        return old._replace(known={**old.known, secret: suspected}, epoch=old.epoch + 1)
    # The question that the first answer caused decides about both.
    doubted = dossier._replace(doubted=True, tries=0, due=min(dossier.due, now))
    return _settled(old._replace(known={**old.known, secret: doubted}))


def recheck(old: Rotation, secret: Secret, now: float) -> Rotation:
    """The key after Productlane refused a request for a scope that ``/me`` says the value has: ``/me`` is due.

    At most once in `RELIEF` seconds, whatever is refused.
    """
    dossier = old.known.get(secret)
    if dossier is None or dossier.doubted or is_refused(old, secret) or now < dossier.sure_until:
        return old
    asked = dossier._replace(due=now, sure_until=now + RELIEF)
    return old._replace(known={**old.known, secret: asked})


def due(rotation: Rotation, now: float) -> tuple[Secret, ...]:
    """The values to ask ``/me`` about now."""
    return tuple(secret for secret, dossier in rotation.known.items() if dossier.due <= now)


def _settled(rotation: Rotation) -> Rotation:
    """With the workspace, once that is certain, and the value that serves now."""
    if rotation.workspace is None and (found := _first_workspace(rotation)):
        rotation = rotation._replace(workspace=found)
    best = candidates(rotation)
    return rotation._replace(current=best[0] if best else None)


def _first_workspace(rotation: Rotation) -> str | None:
    """That of the first good value, where nothing better could still turn out to be good."""
    for slot in in_order(rotation):
        if slot.secret is None:
            continue
        finding = rotation.dossier(slot.secret).finding
        if finding is None:
            return None
        if finding.refused is None and not is_foreign(rotation, finding):
            return finding.workspace
    return None


def _forgetful(rotation: Rotation) -> Rotation:
    """Without a replaced value that Productlane refuses, where another one serves."""
    replaced = rotation.replaced
    if (
        replaced is None
        or replaced.secret is None
        or rotation.current is None
        or not is_refused(rotation, replaced.secret)
    ):
        return rotation
    known = {secret: dossier for secret, dossier in rotation.known.items() if secret != replaced.secret}
    return rotation._replace(replaced=None, behind=0, known=known)


def _pause(bounds: tuple[float, float], tries: int) -> float:
    least, most = bounds
    return min(most, least * 2.0 ** min(tries, 16))
