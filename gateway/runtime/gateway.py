"""One process that serves, from the opening of its listeners to the drain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from gateway import __version__
from gateway.admin.pages import Pages
from gateway.aio.background import Background
from gateway.aio.waiting import cancelled
from gateway.net.listen_address import Address
from gateway.runtime.adoption import prepare_caps
from gateway.runtime.drain import drain
from gateway.runtime.facts import Facts
from gateway.runtime.listeners import raise_descriptors
from gateway.runtime.parts import Parts
from gateway.runtime.reported import reported
from gateway.telemetry.events.process import Draining, Started, Stopped

# How long a new process is not ready while it has no keys of an issuer. A rollout then stops; after it, callers with
# other credentials are served all the same.
_FIRST_KEYS: Final = 20.0


class Gateway:
    """A gateway that serves. ``accepting`` is its open traffic listener; `running` makes all of it."""

    def __init__(self, parts: Parts, accepting: asyncio.Server, background: Background) -> None:
        self.parts: Final = parts
        self._accepting: Final = accepting
        self._background: Final = background

    @property
    def traffic(self) -> Address:
        """Where callers are served."""
        return self.parts.facts.listeners.traffic

    @property
    def admin(self) -> Address:
        """Where metrics, probes and the status are served."""
        return self.parts.facts.listeners.admin

    async def drain(self, second_signal: asyncio.Event) -> None:
        """Stop without losing a request; see `gateway.runtime.drain`."""
        facts = self.parts.facts
        settings = facts.snapshot.settings.drain
        facts.health.mark("not_draining", False)
        facts.current.draining = True
        self.parts.emit(Draining(self.parts.metrics.in_flight, settings.timeout))
        await drain(self.parts.listener, self._accepting, settings, second_signal)

    def look(self) -> None:
        """Look whether secrets or the configuration have changed, without waiting for a notice of it."""
        self._background.start(reported(self._look(), self.parts.emit))

    async def _look(self) -> None:
        await self.parts.sources.read()
        await self.parts.reloads.look()


@contextlib.asynccontextmanager
async def running(make: Callable[[], Parts]) -> AsyncIterator[Gateway]:
    """A gateway that serves until the end of the block. Raises `CannotStart` where an address is not available.

    ``make`` is called on the running loop; what it raises is passed on.
    """
    async with contextlib.AsyncExitStack() as opening:
        gateway = await _started(make(), opening)
        opened = opening.pop_all()
    try:
        yield gateway
    finally:
        await opened.aclose()
        gateway.parts.emit(Stopped())


async def _started(parts: Parts, stack: contextlib.AsyncExitStack) -> Gateway:
    """Open both listeners and begin the background work. ``stack`` closes what was opened, the last first."""
    facts, emit, snapshot = parts.facts, parts.emit, parts.facts.snapshot
    background = Background()
    _close_at_the_end(parts, background, stack)
    parts.metrics.watch(facts.state)
    facts.name_labels(parts.metrics)
    parts.metrics.config_loaded(ok=True, now=facts.clock())
    raise_descriptors(snapshot.settings, emit)
    await prepare_caps(parts.caps, snapshot)
    pages = Pages(parts.metrics, facts.health, facts.status, facts.status_token)
    await facts.listeners.open_admin(pages, stack, emit)
    facts.health.mark("config_loaded", True)
    accepting = await facts.listeners.open_traffic(parts.listener, stack, emit)
    traffic = facts.listeners.traffic
    if parts.tracing is not None:
        parts.tracing.listens(str(traffic.path or traffic.host), traffic.port, tls=facts.listeners.tls is not None)
    facts.health.mark("listener_open", True)
    for work in (
        _keep_keys(facts),
        parts.sharing.run(),
        _await_issuers(facts),
        parts.sources.run(),
        parts.reloads.run(),
    ):
        stack.push_async_callback(cancelled, background.start(reported(work, emit)))
    counts = len(snapshot.keys), len(snapshot.policies)
    emit(Started(__version__, facts.config, str(traffic), str(facts.listeners.admin), *counts))
    return Gateway(parts, accepting, background)


def _close_at_the_end(parts: Parts, background: Background, stack: contextlib.AsyncExitStack) -> None:
    """What is to be closed however the start ends; the last one first."""
    stack.push_async_callback(background.close)
    if parts.tracing is not None:
        stack.push_async_callback(asyncio.to_thread, parts.tracing.close)
    for close in (partial(_close_serving, parts.facts), parts.caps.close, parts.sharing.close, parts.listener.stop):
        stack.push_async_callback(close)


async def _close_serving(facts: Facts) -> None:
    await facts.factory.close(facts.current.serving)


async def _await_issuers(facts: Facts) -> None:
    if facts.factory.issuers is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_KEYS):
                await facts.factory.issuers.first_keys()
    facts.health.mark("issuers_asked", True)


async def _keep_keys(facts: Facts) -> None:
    await facts.factory.open_store()
    await facts.verifier.run()
