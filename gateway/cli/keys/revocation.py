"""What the replicas of a gateway say of their secrets, put together: who uses which, and what may be revoked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.core.key_faults import KeyFault

# States in which a secret is not the one that serves and Productlane would take it.
_IDLE: Final = frozenset({"standby", "unverified"})

_OF_NO_USE: Final = frozenset(KeyFault) - {KeyFault.MISSING}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place of a key at one replica. Times are Unix seconds by that replica's clock; ``now`` is when it answered.

    ``since`` is when the replica first held the value: of what was before, it knows nothing.
    """

    replica: str
    key: str
    slot: str
    source: str
    preview: str
    api_key_id: str
    state: str
    workspace: str
    scopes: tuple[str, ...]
    note: str
    fault: str
    since: float
    last_used: float | None
    requests: int
    now: float

    @property
    def idle_for(self) -> float:
        """For how many seconds at least it was not used, as far as this replica can know."""
        return self.now - (self.since if self.last_used is None else self.last_used)


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a key, as all replicas see it. ``advice`` is a sentence, empty where there is nothing to say."""

    key: str
    seen: tuple[Sighting, ...]
    safe_to_revoke: bool
    advice: str

    @property
    def name(self) -> str:
        """The key and the file or variable that holds it; ``support/previous``."""
        return name_of(self.seen[0])

    @property
    def slot(self) -> str:
        return ",".join(dict.fromkeys(one.slot for one in self.seen))

    @property
    def state(self) -> str:
        """Its state, with the number of replicas for each where they differ."""
        states = [one.state for one in self.seen]
        kinds = sorted(set(states))
        return kinds[0] if len(kinds) == 1 else ", ".join(f"{kind} ({states.count(kind)})" for kind in kinds)

    @property
    def fault(self) -> str:
        """What is wrong with its file, as a sentence; empty where nothing is."""
        fault = next((one.fault for one in self.seen if one.fault), "")
        return f"`{self.name}`: {fault}." if fault else ""

    @property
    def last_used(self) -> float | None:
        """Seconds since any replica used it."""
        return min((one.now - one.last_used for one in self.seen if one.last_used is not None), default=None)

    @property
    def age(self) -> float:
        """Seconds since the first replica held it."""
        return max(one.now - one.since for one in self.seen)

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.seen)


def sightings(replica: str, status: Mapping[str, Any]) -> list[Sighting]:
    """What one replica's ``/status.json`` says. Raises KeyError, TypeError or ValueError where it is not one."""
    now = _moment(status["now"])
    return [
        Sighting(
            replica=replica,
            key=key["key"],
            slot=slot["slot"],
            source=slot["source"] or "",
            preview=slot["preview"] or "",
            api_key_id=slot["api_key_id"] or "",
            state=slot["state"],
            workspace=slot["workspace"] or "",
            scopes=tuple(slot["scopes"] or ()),
            note=slot["note"] or "",
            fault=slot["fault"] or "",
            since=now if slot["since"] is None else _moment(slot["since"]),
            last_used=None if slot["last_used"] is None else _moment(slot["last_used"]),
            requests=slot["requests_last_hour"],
            now=now,
        )
        for key in status["keys"]
        for slot in key["slots"]
    ]


def gather(seen: Sequence[Sighting], replicas: Sequence[str], *, silent: int, unused_for: float) -> list[Secret]:
    """The secrets of all keys, each with what may be done about it.

    ``replicas`` have answered and ``silent`` have not. A secret is safe to revoke where every replica answered, has
    another secret of the key active, and has not used this one for ``unused_for`` seconds.
    """
    active: dict[str, set[tuple[str, str]]] = {}
    for one in seen:
        if one.state == "active":
            active.setdefault(one.key, set()).add((one.replica, one.preview))
    return [
        _judged(group, active.get(group[0].key, set()), replicas, silent, unused_for) for group in _same_secret(seen)
    ]


def faults(secrets: Iterable[Secret], replicas: Sequence[str]) -> list[str]:
    """What somebody should see to, in sentences: keys that no secret serves, or not the first of their secrets."""
    found = []
    keys: dict[str, list[Sighting]] = {}
    for secret in secrets:
        keys.setdefault(secret.key, []).extend(secret.seen)
    for key, seen in keys.items():
        served = {one.replica for one in seen if one.state == "active"}
        first = {one.replica for one in seen if one.state == "active" and one.slot == "1"}
        if lacking := [replica for replica in replicas if replica not in served]:
            found.append(f"`{key}` has no active secret at {', '.join(lacking)}.")
        elif len(first) < len(replicas):
            blocked = next((one for one in seen if one.slot == "1" and one.state != "active"), None)
            found.append(f"`{key}` is not served by the first of its secrets{_because(blocked)}.")
    return found


def name_of(one: Sighting) -> str:
    """The key and where its value is, as people would call it."""
    if one.slot == "replaced":
        return f"{one.key}/replaced"
    return f"{one.key}/{one.source.partition(':')[2].rpartition('/')[2] or one.slot}"


def ago(seconds: float) -> str:
    """A duration in its largest unit, as ``3 h``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def _judged(
    seen: list[Sighting],
    active: set[tuple[str, str]],
    replicas: Sequence[str],
    silent: int,
    unused_for: float,
) -> Secret:
    def secret(advice: str, *, safe: bool = False) -> Secret:
        return Secret(first.key, tuple(seen), safe, advice)

    first = seen[0]
    name = f"`{name_of(first)}`"
    states = {one.state for one in seen}
    note = next((one.note for one in seen if one.note), "")
    if not first.preview:
        return secret("")
    if states & _OF_NO_USE:
        return secret(f"{name} is of no use: {note}.")
    if not states <= _IDLE:
        return secret("")
    if note:
        return secret(f"{name} is not used: {note}.")
    without = [replica for replica in replicas if not any(at == replica and p != first.preview for at, p in active)]
    if without:
        return secret(f"{name} has to stay: no other secret of `{first.key}` is active at {', '.join(without)}.")
    idle = min(one.idle_for for one in seen)
    used = _used(seen, idle)
    if silent:
        return secret(f"{name} {used}, but {silent} of {silent + len(replicas)} replicas did not answer; ask again.")
    if idle < unused_for:
        return secret(f"{name} {used}; wait until it has been unused for {ago(unused_for)}.")
    return secret(f"{name} {used}; it is safe to revoke.", safe=True)


def _used(seen: list[Sighting], idle: float) -> str:
    if any(one.last_used is not None for one in seen):
        return f"was last used {ago(idle)} ago"
    return f"has not been used in the {ago(idle)} that can be told of"


def _because(blocked: Sighting | None) -> str:
    if blocked is None:
        return ""
    why = blocked.note or blocked.fault or f"it is {blocked.state}"
    return f", {name_of(blocked)}: {why}"


def _same_secret(seen: Iterable[Sighting]) -> list[list[Sighting]]:
    """The sightings of each secret: by its four characters, and by Productlane's id of it where that is known."""
    seen = list(seen)
    ids: dict[tuple[str, str], set[str]] = {}
    for one in seen:
        ids.setdefault((one.key, one.preview), set()).update({one.api_key_id} - {""})
    groups: dict[tuple[str, str, str], list[Sighting]] = {}
    for one in seen:
        known = ids[one.key, one.preview]
        # What holds nothing is one place, not one secret; an id that is not known yet is the only one there is.
        mark = one.slot if not one.preview else one.api_key_id or (next(iter(known)) if len(known) == 1 else "")
        groups.setdefault((one.key, one.preview, mark), []).append(one)
    return list(groups.values())


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
