"""What Productlane says of every secret of a configuration, asked at once."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from gateway.config.assembly.snapshot import Snapshot
from gateway.config.tls import upstream_context
from gateway.core.drift import Drift, Needs, drift, needs
from gateway.core.key_faults import KEY_FAULTS, KeyFault
from gateway.keys.identity import Identities
from gateway.keys.keyring import Keyring, SlotState
from gateway.net.resolver import Names, Resolver


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One secret. ``scopes`` is None where nothing is known of it; ``fault`` says why it cannot be relied on."""

    slot: str
    preview: str
    state: str
    workspace: str
    scopes: tuple[str, ...] | None
    fault: str


@dataclass(frozen=True, slots=True)
class KeyReport:
    """One key with its secrets and the drift of the one in use, as in `Drift`; empty where no secret is in use."""

    name: str
    slots: tuple[SlotReport, ...]
    missing: tuple[str, ...] = ()
    excess: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    wide: bool = False
    advice: tuple[str, ...] = ()

    @property
    def faults(self) -> list[str]:
        """Everything that ``check --online`` exits with 1 for, in words."""
        found = [f"secret {slot.slot}: {slot.fault}" for slot in self.slots if slot.fault]
        if self.missing:
            found.append(f"no key of its routes carries {', '.join(self.missing)}, which policies grant")
        return found

    def facts(self) -> dict[str, object]:
        """The report as JSON can carry it."""
        return {"key": self.name, **{n: v for n, v in asdict(self).items() if n != "name"}, "faults": self.faults}


async def ask(snapshot: Snapshot) -> list[KeyReport]:
    """Show each secret to ``GET /me`` once. Never raises for what Productlane answers, or for its silence."""
    upstream = snapshot.upstream
    identities = Identities(
        url=upstream.url,
        settings=snapshot.identity,
        timeout=upstream.connect_timeout,
        ssl=upstream_context(upstream.ca) if upstream.url.startswith("https:") else None,
        resolver=Resolver(Names(), upstream.connect_timeout / 2),
    )
    try:
        keyring = Keyring(snapshot.keys, identities)
        await keyring.prefetch()
        return _reports(snapshot, keyring.states())
    finally:
        await identities.close()


def _reports(snapshot: Snapshot, states: Iterable[SlotState]) -> list[KeyReport]:
    slots: dict[str, list[SlotState]] = {name: [] for name in snapshot.keys}
    for state in states:
        slots[state.key].append(state)
    needed = needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, datetime.now(UTC).date())
    drifts = drift(needed, {name: _in_use(own) for name, own in slots.items()}, snapshot.catalog.scopes)
    return [_report(name, tuple(map(_slot, own)), drifts.get(name), needed) for name, own in slots.items()]


def _report(name: str, slots: tuple[SlotReport, ...], found: Drift | None, needed: Needs) -> KeyReport:
    if found is None:
        return KeyReport(name, slots, advice=needed.advice(name))
    return KeyReport(
        name,
        slots,
        missing=tuple(sorted(found.missing)),
        excess=tuple(sorted(found.excess)),
        unknown=tuple(sorted(found.unknown)),
        wide=found.wide,
        advice=tuple(found.advice),
    )


def _in_use(states: Iterable[SlotState]) -> frozenset[str] | None:
    for state in states:
        if state.state == "active" and state.known is not None and state.known.identity is not None:
            return state.known.identity.scopes
    return None


def _slot(state: SlotState) -> SlotReport:
    identity = state.known.identity if state.known is not None else None
    # A secret that is still to come is no fault: rotation prepares its place first.
    shown = state.state
    fault = KEY_FAULTS[shown].meaning if isinstance(shown, KeyFault) and shown is not KeyFault.MISSING else ""
    if state.state == "unverified":
        fault = f"Productlane could not be asked: {state.known.fault if state.known else 'no answer'}"
    return SlotReport(
        slot=state.slot,
        preview=state.secret.preview if state.secret is not None else "",
        state=state.state,
        workspace=identity.workspace if identity is not None else "",
        scopes=tuple(sorted(identity.scopes)) if identity is not None else None,
        fault=fault,
    )
