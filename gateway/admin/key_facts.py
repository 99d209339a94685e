"""What is shown of the keys: how each secret stands, and the drift between keys and policies."""

from collections.abc import Iterable

from gateway.admin.drift import Needs, drift
from gateway.keys.keyring import SlotState
from gateway.telemetry.facts import KeyFacts, SlotFacts


def key_facts(states: Iterable[SlotState], needs: Needs) -> list[KeyFacts]:
    """The facts about every key that has a state, in the order in which they come."""
    slots: dict[str, list[SlotState]] = {}
    for state in states:
        slots.setdefault(state.key, []).append(state)
    drifts = drift(needs, {key: _scopes(states) for key, states in slots.items()})
    return [
        KeyFacts(
            key,
            tuple(_slot_facts(state) for state in states),
            missing=drifts[key].missing if key in drifts else None,
            excess=drifts[key].excess if key in drifts else None,
        )
        for key, states in slots.items()
    ]


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
    )
