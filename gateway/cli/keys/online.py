"""What Productlane says about each secret of a configuration, and issuers about their keys, asked at once."""

import asyncio
from typing import Final

from gateway.cli.settings import utc_today
from gateway.config.assembly.snapshot import Snapshot
from gateway.core.drift import needs
from gateway.core.key_faults import KeyFault
from gateway.keys.identity import Identities
from gateway.keys.keyring import Keyring
from gateway.keys.me_values import MeSettings
from gateway.keys.status import key_statuses
from gateway.keys.verifier import KeyVerifier
from gateway.net.client_tls import upstream_context
from gateway.net.resolver import Names, Resolver
from gateway.telemetry.status import IssuerStatus, KeyStatus, SlotStatus

# A missing secret is no fault: a rotation may be about to bring it.
_REFUSED: Final = frozenset(KeyFault) - {KeyFault.MISSING}


async def ask(snapshot: Snapshot) -> tuple[KeyStatus, ...]:
    """Show each secret to ``GET /me`` once. Never raises for what Productlane answers, or for its silence."""
    upstream = snapshot.settings.upstream
    settings = MeSettings(
        upstream=upstream.url,
        identity=snapshot.settings.identity,
        timeout=upstream.connect_timeout,
        ssl=upstream_context(upstream.ca) if upstream.url.startswith("https:") else None,
        resolver=Resolver(Names(), upstream.connect_timeout / 2),
    )
    identities = Identities(settings)
    try:
        verifier = KeyVerifier(identities)
        keyring = Keyring(verifier.adopt(snapshot.keys), verifier)
        await keyring.prefetch()
        needed = needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, utc_today())
        return key_statuses(keyring, needed, snapshot.catalog.scopes)
    finally:
        await identities.close()


async def ask_issuers(snapshot: Snapshot) -> list[IssuerStatus]:
    """Ask each issuer of callers' tokens for its keys once, as `serve` does. Never raises for what they answer."""
    settings = snapshot.callers.issuers
    if not settings:
        return []
    # PyJWT and cryptography: 50 ms that only issuers need.
    from gateway.callers.issuers import Issuers

    issuers = Issuers(settings, resolver=Resolver(Names()))
    await asyncio.gather(*(keys.ask() for keys in issuers.sets.values()))
    return issuers.statuses()


def faults(key: KeyStatus) -> list[str]:
    """Everything that ``check --online`` exits with 1 for, in words."""
    found = [f"secret {slot.slot}: {fault}" for slot in key.slots if (fault := slot_fault(slot))]
    if key.missing:
        found.append(f"no key of its routes carries {', '.join(key.missing)}, which policies grant")
    return found


def slot_fault(slot: SlotStatus) -> str:
    """Why a secret cannot be relied on; empty where it can, or where there is none to ask about."""
    if slot.state in _REFUSED:
        return slot.note or slot.state
    if slot.state == "unverified":
        return f"Productlane could not be asked: {slot.identity_fault or 'no answer'}"
    return ""
