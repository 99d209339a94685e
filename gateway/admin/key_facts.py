"""What is shown of the keys: how each secret stands, and the drift between keys and policies."""

from collections.abc import Collection, Iterable

from gateway.core.drift import Drift, Needs, drift
from gateway.keys.keyring import SlotState
from gateway.telemetry.facts import KeyFacts, SlotFacts


def key_facts(states: Iterable[SlotState], needs: Needs, known: Collection[str] | None = None) -> list[KeyFacts]:
    """The facts about every key that has a state, in the order in which they come. ``known`` is as for `drift`."""
    slots: dict[str, list[SlotState]] = {}
    for state in states:
        slots.setdefault(state.key, []).append(state)
    drifts = drift(needs, {key: _scopes(states) for key, states in slots.items()}, known)
    return [_key_facts(key, own, drifts.get(key), needs) for key, own in slots.items()]


def _key_facts(key: str, states: list[SlotState], found: Drift | None, needs: Needs) -> KeyFacts:
    slots = tuple(_slot_facts(state) for state in states)
    if found is None:
        return KeyFacts(key, slots, advice=needs.advice(key))
    return KeyFacts(key, slots, found.missing, found.excess, found.unknown, found.wide, tuple(found.advice))


def _scopes(states: list[SlotState]) -> frozenset[str] | None:
    """What the key's secret in use carries; None while no secret of it is verified."""
    identities = [s.known.identity for s in states if s.state == "active" and s.known and s.known.identity]
    return identities[0].scopes if identities else None


def _slot_facts(state: SlotState) -> SlotFacts:
    identity = state.known.identity if state.known else None
    return SlotFacts(
        slot=state.slot,
        state=state.state,
        preview=state.secret.preview if state.secret else "",
        workspace=identity.workspace if identity else "",
        api_key_id=identity.api_key_id if identity else "",
        scopes=identity.scopes if identity else None,
        identity_age=state.known.age if identity and state.known else None,
        last_used=state.last_used,
        source=state.source,
        since=state.since,
        last_hour=state.last_hour,
        note=state.note,
        fault=state.fault,
        identity_fault=state.known.fault if state.known else "",
    )
