"""Small keys, keyrings, routes and permits for tests, and the status of a keyring's slots."""

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from gateway.config.assembly.snapshot import Key, Slot
from gateway.core.catalog import Endpoint, Lane
from gateway.core.decision import Permit, decide
from gateway.core.policy import Policy
from gateway.core.routing import Route
from gateway.core.rule import Ask
from gateway.core.secret import Secret
from gateway.keys.identity import Identities
from gateway.keys.keyring import Keyring
from gateway.keys.status import slot_statuses
from gateway.keys.verifier import KeyVerifier
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.status import SlotStatus
from tests.support.clock import Clock


def key(name: str, *secrets: Secret | None, workspace: str | None = None) -> Key:
    slots = tuple(Slot(place, f"env:SECRET_{place}", secret) for place, secret in enumerate(secrets, 1))
    return Key(name, slots, workspace)


def keyring_of(
    keys: Mapping[str, Key],
    identities: Identities,
    *,
    after: Keyring | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    emit: Emit = ignore,
    **adopted: Any,
) -> Keyring:
    """The keyring of a configuration, which may follow another."""
    verifier = KeyVerifier(identities, clock=clock, wall=wall, emit=emit) if after is None else after.verifier
    return Keyring(verifier.adopt(keys, identities=identities, **adopted), verifier)


def ring(identities: Identities, *keys: Key, wall: Clock | None = None) -> Keyring:
    return keyring_of({each.name: each for each in keys}, identities, wall=wall or Clock())


def route(*keys: str) -> Route:
    return Route("/**", keys)


def permit(*scopes: str, by: Route) -> Permit:
    """A permit, made by `decide`, for an endpoint with these scopes on this route."""
    endpoint = Endpoint("GET", "/things", frozenset(scopes), Lane.READ)
    return decide(Ask(Policy("billing", frozenset(scopes)), endpoint, date(2026, 1, 1), route=by))


def slots(keyring: Keyring) -> list[SlotStatus]:
    """Every slot of every key, in order."""
    return [slot for state in keyring.states for slot in slot_statuses(keyring, state)]
