"""The status of every key: the state of each secret, and how its scopes differ from what the policies need."""

from collections.abc import Collection, Mapping

from gateway.core.drift import Needs, drift
from gateway.core.rotation import Slot, reason, state
from gateway.keys.key_state import KeyState
from gateway.keys.keyring import Keyring
from gateway.telemetry.status import BudgetStatus, KeyStatus, SlotStatus, moment


def key_statuses(
    keyring: Keyring,
    needs: Needs,
    known: Collection[str] | None = None,
    budgets: Mapping[tuple[str, str], BudgetStatus] | None = None,
) -> tuple[KeyStatus, ...]:
    """Every key, from memory alone. ``known`` is as for `drift`; ``budgets`` are by key and lane."""
    keys = [KeyStatus(state.name, slot_statuses(keyring, state)) for state in keyring.states]
    drifts = drift(needs, {key.name: _scopes(key) for key in keys}, known)
    lanes: dict[str, dict[str, BudgetStatus]] = {}
    for (name, lane), reading in sorted((budgets or {}).items()):
        lanes.setdefault(name, {})[lane] = reading
    statuses = []
    for key in keys:
        found, read = drifts.get(key.name), lanes.get(key.name, {})
        statuses.append(
            KeyStatus(
                key.name,
                key.slots,
                missing=None if found is None else tuple(sorted(found.missing)),
                excess=None if found is None else tuple(sorted(found.excess)),
                unknown=None if found is None else tuple(sorted(found.unknown)),
                wide=None if found is None else found.wide,
                advice=needs.advice(key.name) if found is None else tuple(found.advice),
                budgets=read,
            )
        )
    return tuple(statuses)


def slot_statuses(keyring: Keyring, key: KeyState) -> tuple[SlotStatus, ...]:
    """Every slot of one key, the one of the replaced value last."""
    return tuple(_slot(keyring, key, slot) for slot in key.rotation.all_slots)


def _scopes(key: KeyStatus) -> frozenset[str] | None:
    """What the key's secret in use carries; None while no secret of it is verified."""
    return None if key.active is None or key.active.scopes is None else frozenset(key.active.scopes)


def _slot(keyring: Keyring, key: KeyState, slot: Slot) -> SlotStatus:
    shown, note = state(key.rotation, slot), reason(key.rotation, slot)
    if slot.secret is None:
        return SlotStatus(slot.name, shown, source=slot.source or None, note=note or None, fault=slot.fault or None)
    known, uses, now = keyring.identities.recall(slot.secret), key.uses(slot.secret), keyring.verifier.wall()
    identity = known.identity if known else None
    if shown == "unverified" and not note and known is not None and known.fault:
        note = f"`/me` could not be asked: {known.fault}"
    return SlotStatus(
        slot=slot.name,
        state=shown,
        preview=slot.secret.preview,
        workspace=identity.workspace if identity else None,
        api_key_id=identity.api_key_id if identity else None,
        scopes=tuple(sorted(identity.scopes)) if identity else None,
        identity_age=round(known.age, 1) if known and identity else None,
        last_used=moment(uses.last),
        source=slot.source or None,
        since=moment(now - keyring.verifier.age(slot.since)),
        requests_last_hour=uses.last_hour(now),
        note=note or None,
        fault=slot.fault or None,
        source_fault=slot.source_fault,
        identity_fault=(known.fault if known else "") or None,
    )
