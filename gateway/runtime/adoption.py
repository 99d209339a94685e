"""Puts another configuration in the place of the one that is served."""

import asyncio
from collections.abc import Collection

import msgspec

from gateway.budgets.caps import Caps
from gateway.config.assembly.snapshot import Snapshot
from gateway.keys.sources import Sources
from gateway.proxy.listener import Listener
from gateway.runtime.facts import Facts
from gateway.runtime.listeners import raise_descriptors
from gateway.runtime.loading import Loaded
from gateway.telemetry.reporter import Reporter


class Adoption(msgspec.Struct, frozen=True):
    """The parts of a process that depend on its configuration; `adopt` gives them another one."""

    facts: Facts
    listener: Listener
    caps: Caps
    sources: Sources
    reporter: Reporter

    async def adopt(self, loaded: Loaded, changed: Collection[str], number: int) -> None:
        """Serve what was loaded from now on. A request that has begun goes on with what it began with.

        ``changed`` are the paths whose content is new, ``number`` that of the reading of keys. Raises OSError or
        `BadTls` where a certificate cannot be used; then what was served stays.
        """
        snapshot, current = loaded.snapshot, self.facts.current
        await prepare_caps(self.caps, snapshot)
        if await asyncio.to_thread(self.facts.listeners.reload_tls, snapshot.settings.tls, changed):
            self.listener.retire_certificates()
        needed = frozenset(loaded.needs.endpoints)
        current.serving = await self.facts.factory.follow(current.serving, snapshot, needed, changed, number)
        self.facts.needs = loaded.needs
        self.facts.name_labels(self.reporter.metrics)
        raise_descriptors(snapshot.settings, self.reporter.emit)
        self.listener.limits = snapshot.settings.limits
        self.reporter.usage.prune(snapshot.policies)
        self.facts.pacer.keep(self.facts.verifier.secrets)
        await self.sources.adopt(snapshot.keys)


async def prepare_caps(caps: Caps, snapshot: Snapshot) -> None:
    """See that the first request of a caller with limits finds everything imported that counts it."""
    if any(policy.reads or policy.writes for policy in snapshot.policies.values()):
        await asyncio.to_thread(caps.prepare)
