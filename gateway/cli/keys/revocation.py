"""What the replicas of a gateway say of their secrets, put together: who uses which, and what may be revoked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.core.key_faults import KeyFault
from gateway.telemetry.status import SlotStatus, Status

# States in which a secret is not the one that serves and Productlane would take it.
_IDLE: Final = frozenset({"standby", "unverified"})

_OF_NO_USE: Final = frozenset(KeyFault) - {KeyFault.MISSING}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One slot of a key at one replica, when that replica answered (``now``, by its own clock)."""

    replica: str
    key: str
    slot: SlotStatus
    now: datetime

    @property
    def age(self) -> float:
        """For how many seconds the replica has held the value; it knows nothing of the time before."""
        return 0.0 if self.slot.since is None else (self.now - self.slot.since).total_seconds()

    @property
    def last_used(self) -> float | None:
        """Seconds since the replica last used it; None where it never did."""
        return None if self.slot.last_used is None else (self.now - self.slot.last_used).total_seconds()

    @property
    def idle_for(self) -> float:
        """For how many seconds at least the replica has not used it."""
        return self.age if self.last_used is None else self.last_used


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a key, as all replicas see it. ``advice`` is a sentence, empty where there is nothing to say.

    ``uncertain``: it could be revoked if it were known that every replica answered.
    """

    key: str
    seen: tuple[Sighting, ...]
    safe_to_revoke: bool
    advice: str
    uncertain: bool = False

    @property
    def name(self) -> str:
        """The key and the file or variable that holds it; ``support/previous``."""
        return name_of(self.seen[0])

    @property
    def preview(self) -> str | None:
        return self.seen[0].slot.preview

    @property
    def workspace(self) -> str | None:
        return next((one.slot.workspace for one in self.seen if one.slot.workspace), None)

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.seen[0].slot.scopes or ()

    @property
    def slot(self) -> str:
        return ",".join(dict.fromkeys(one.slot.slot for one in self.seen))

    @property
    def state(self) -> str:
        """Its state, with the number of replicas for each where they differ."""
        states = [one.slot.state + (", source_fault" if one.slot.source_fault else "") for one in self.seen]
        kinds = sorted(set(states))
        return kinds[0] if len(kinds) == 1 else ", ".join(f"{kind} ({states.count(kind)})" for kind in kinds)

    @property
    def fault(self) -> str:
        """What is wrong with its file, as a sentence; empty where nothing is."""
        fault = next((one.slot.fault for one in self.seen if one.slot.fault and not one.slot.source_fault), "")
        return f"`{self.name}`: {fault}." if fault else ""

    @property
    def last_used(self) -> float | None:
        """Seconds since any replica used it."""
        return min((one.last_used for one in self.seen if one.last_used is not None), default=None)

    @property
    def age(self) -> float:
        """Seconds since the first replica held it."""
        return max(one.age for one in self.seen)

    @property
    def requests(self) -> int:
        return sum(one.slot.requests_last_hour for one in self.seen)


def sightings(replica: str, status: Status) -> list[Sighting]:
    """Every slot of every key of one replica."""
    now = status.now or datetime.fromtimestamp(0, UTC)
    return [Sighting(replica, key.name, slot, now) for key in status.keys for slot in key.slots]


def gather(seen: Sequence[Sighting], replicas: Sequence[str], *, doubt: str, unused_for: float) -> list[Secret]:
    """The secrets of all keys, each with what may be done about it.

    ``replicas`` have answered; ``doubt`` says why there may be others. A secret is safe to revoke where every replica
    answered, has another secret of the key active, and has not used this one for ``unused_for`` seconds.
    """
    active: dict[str, set[tuple[str, str | None]]] = {}
    for one in seen:
        if one.slot.state == "active":
            active.setdefault(one.key, set()).add((one.replica, one.slot.preview))
    return [
        _judged(group, active.get(group[0].key, set()), replicas, doubt, unused_for) for group in _same_secret(seen)
    ]


def faults(secrets: Iterable[Secret], replicas: Sequence[str]) -> list[str]:
    """What somebody should see to, in sentences: keys that no secret serves, or not the first of their secrets."""
    found = []
    keys: dict[str, list[Sighting]] = {}
    for secret in secrets:
        keys.setdefault(secret.key, []).extend(secret.seen)
    for key, seen in keys.items():
        served = {one.replica for one in seen if one.slot.state == "active"}
        first = {one.replica for one in seen if one.slot.state == "active" and one.slot.slot == "1"}
        if lacking := [replica for replica in replicas if replica not in served]:
            found.append(f"`{key}` has no active secret at {', '.join(lacking)}.")
        elif len(first) < len(replicas):
            blocked = next((one for one in seen if one.slot.slot == "1" and one.slot.state != "active"), None)
            found.append(f"`{key}` is not served by the first of its secrets{_because(blocked)}.")
        faulty = {one.slot.fault: one for one in seen if one.slot.source_fault}
        for fault, one in faulty.items():
            found.append(f"`{name_of(one)}` is in memory only, and a restart would not find it: {fault}.")
    return found


def name_of(one: Sighting) -> str:
    """The key and where its value is, as people would call it."""
    if one.slot.slot == "replaced":
        return f"{one.key}/replaced"
    return f"{one.key}/{(one.slot.source or '').partition(':')[2].rpartition('/')[2] or one.slot.slot}"


def ago(seconds: float) -> str:
    """A duration in its largest unit, as ``3 h``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def _judged(
    seen: list[Sighting],
    active: set[tuple[str, str | None]],
    replicas: Sequence[str],
    doubt: str,
    unused_for: float,
) -> Secret:
    def secret(advice: str, *, safe: bool = False, uncertain: bool = False) -> Secret:
        return Secret(first.key, tuple(seen), safe, advice, uncertain)

    first = seen[0]
    name = f"`{name_of(first)}`"
    states = {one.slot.state for one in seen}
    note = next((one.slot.note for one in seen if one.slot.note), "")
    if not first.slot.preview:
        return secret("")
    if states & _OF_NO_USE:
        return secret(f"{name} is of no use: {note}.")
    if not states <= _IDLE:
        return secret("")
    if note:
        return secret(f"{name} is not used: {note}.")
    others = {replica for replica, preview in active if preview != first.slot.preview}
    without = [replica for replica in replicas if replica not in others]
    if without:
        return secret(f"{name} has to stay: no other secret of `{first.key}` is active at {', '.join(without)}.")
    idle = min(one.idle_for for one in seen)
    used = _used(seen, idle)
    if idle < unused_for:
        return secret(f"{name} {used}; wait until it has been unused for {ago(unused_for)}.")
    if doubt:
        return secret(f"{name} {used}, but {doubt}.", uncertain=True)
    return secret(f"{name} {used}; it is safe to revoke.", safe=True)


def _used(seen: list[Sighting], idle: float) -> str:
    if any(one.last_used is not None for one in seen):
        return f"was last used {ago(idle)} ago"
    return f"has not been used in the {ago(idle)} that are known"


def _because(blocked: Sighting | None) -> str:
    if blocked is None:
        return ""
    why = blocked.slot.note or blocked.slot.fault or f"it is {blocked.slot.state}"
    return f", {name_of(blocked)}: {why}"


def _same_secret(seen: Iterable[Sighting]) -> list[list[Sighting]]:
    """The sightings of each secret: by its four characters, and by Productlane's id of it where that is known."""
    seen = list(seen)
    ids: dict[tuple[str, str | None], set[str]] = {}
    for one in seen:
        ids.setdefault((one.key, one.slot.preview), set()).update({one.slot.api_key_id or ""} - {""})
    groups: dict[tuple[str, str | None, str | None], list[Sighting]] = {}
    for one in seen:
        known = ids[one.key, one.slot.preview]
        # An empty slot is one place, not one secret; an id that is not known yet is the only one there is.
        mark = one.slot.api_key_id or (next(iter(known)) if len(known) == 1 else None)
        groups.setdefault((one.key, one.slot.preview, mark if one.slot.preview else one.slot.slot), []).append(one)
    return list(groups.values())
