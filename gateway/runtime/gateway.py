"""One process: its parts, and their life from start to drain."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Collection, Coroutine
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway import __version__
from gateway.admin.app import admin_app
from gateway.admin.health import Health
from gateway.aio.background import Background
from gateway.aio.waiting import cancelled
from gateway.budgets.caps import Caps
from gateway.budgets.pacing import Pacer
from gateway.budgets.sharing import Sharing
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.config_source import ConfigSource
from gateway.core.drift import needs
from gateway.keys.sources import Sources
from gateway.net.contents import Contents
from gateway.net.listen_address import Address
from gateway.net.resolver import Lookup
from gateway.net.sockets import CannotStart as CannotStart
from gateway.proxy.handler import Handler
from gateway.proxy.listener import Listener
from gateway.proxy.serving import Current
from gateway.runtime.drain import drain
from gateway.runtime.facts import Facts
from gateway.runtime.listeners import Listeners, raise_descriptors
from gateway.runtime.loading import Loaded
from gateway.runtime.reload import Reloads
from gateway.runtime.serving_factory import ServingFactory
from gateway.telemetry.events.process import BackgroundFailed, Draining, Started, Stopped
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.reporter import Reporter
from gateway.telemetry.status import ReloadStatus
from gateway.telemetry.usage import Usage

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing

# How long a new process is not ready while it has no keys of an issuer. A rollout then stops; after it, callers with
# other credentials are served all the same.
_FIRST_KEYS: Final = 20.0


class Gateway:
    """One process: the traffic listener, the admin listener, and what they share. ``clock`` is Unix time in seconds.

    ``config`` says where the configuration comes from, for the status page. With an ``origin``, and its ``contents``
    from before the snapshot was loaded, changes of the files are followed. ``lookup`` is as for `Names`. To be made on
    a running loop; nothing is open before `start`. Raises `CannotStart` where files of ``tls`` cannot be used.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        config: str,
        log: Log,
        clock: Callable[[], float] = time.time,
        origin: ConfigSource | None = None,
        contents: Contents | None = None,
        lookup: Lookup = socket.getaddrinfo,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._clock: Final = clock
        self._tracing: Final = tracing
        self._metrics: Final = Metrics(clock)
        self._metrics.watch_log(lambda: log.dropped)
        self._reporter: Final = Reporter(log, self._metrics, Usage(clock))
        self._emit: Final = self._reporter.emit
        self._background: Final = Background(self._failed)
        self._stack: Final = contextlib.AsyncExitStack()
        self._health: Final = Health()
        self._pacer: Final = Pacer(wall=clock)
        self._caps: Final = Caps(snapshot.store, emit=self._emit)
        self._sharing: Final = Sharing(snapshot.store, self._pacer, emit=self._emit)
        self._factory: Final = ServingFactory(snapshot.store, emit=self._emit, clock=clock, lookup=lookup)
        self._listeners: Final = Listeners(snapshot.settings)
        self._facts: Final = self._first(snapshot, config)
        self._current: Final = self._facts.current
        self._listener: Final = Listener(self._handler(), snapshot.settings.limits, self._emit)
        self._sources: Final = Sources(snapshot.keys, self._current.serving.keyring.verifier)
        self.reloads: Final = None if origin is None else self._reloads(origin, contents)
        self._secrets_followed = False
        self._reported_start = False

    def _first(self, snapshot: Snapshot, config: str) -> Facts:
        needed = needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, self._today())
        return Facts(
            snapshot,
            needed,
            config,
            self._clock,
            health=self._health,
            listeners=self._listeners,
            current=Current(self._factory.first(snapshot, frozenset(needed.endpoints))),
            pacer=self._pacer,
            factory=self._factory,
            usage=self._reporter.usage,
            reload=lambda: ReloadStatus() if self.reloads is None else self.reloads.facts,
            started=self._clock(),
        )

    def _handler(self) -> Handler:
        return Handler(
            self._current, self._reporter, pacer=self._pacer, caps=self._caps, clock=self._clock, tracing=self._tracing
        )

    def _reloads(self, origin: ConfigSource, contents: Contents | None) -> Reloads:
        return Reloads(
            origin,
            contents,
            running=lambda: self._facts.snapshot,
            begin=self._current.serving.keyring.verifier.begin_reading,
            adopt=self._adopt,
            today=self._today,
            emit=self._emit,
            metrics=self._metrics,
            clock=self._clock,
        )

    @property
    def traffic(self) -> Address:
        """Where callers are served."""
        return self._listeners.traffic

    @property
    def admin(self) -> Address:
        """Where metrics, probes and the status are served."""
        return self._listeners.admin

    @property
    def _snapshot(self) -> Snapshot:
        return self._facts.snapshot

    async def start(self) -> None:
        """Open both listeners. Raises `CannotStart` if an address is not available."""
        snapshot = self._snapshot
        self._close_at_the_end()
        self._metrics.watch(self._facts.state)
        self._facts.name_labels(self._metrics)
        self._metrics.config_loaded(ok=True, now=self._clock())
        raise_descriptors(snapshot.settings, self._emit)
        await self._prepare_caps(snapshot)
        app = admin_app(self._metrics, self._health, self._facts.status, self._facts.status_token)
        await self._listeners.open_admin(app, self._stack, self._emit)
        self._health.mark("config_loaded", True)
        await self._listeners.open_traffic(self._listener, self._stack, self._emit)
        if self._tracing is not None:
            host = str(self.traffic.path or self.traffic.host)
            self._tracing.listens(host, self.traffic.port, tls=self._listeners.tls is not None)
        self._health.mark("listener_open", True)
        self._in_background(self._keep_keys())
        self._in_background(self._sharing.run())
        if snapshot.callers.issuers:
            self._in_background(self._await_issuers())
        else:
            self._health.mark("issuers_asked", True)
        self._follow_secrets()
        if self.reloads is not None:
            self._in_background(self.reloads.watcher.run())
        addresses = str(self.traffic), str(self.admin)
        self._emit(Started(__version__, self._facts.config, *addresses, len(snapshot.keys), len(snapshot.policies)))
        self._reported_start = True

    def _close_at_the_end(self) -> None:
        """What is to be closed whatever `start` comes to; the last one first."""
        self._stack.push_async_callback(self._background.close)
        if self._tracing is not None:
            self._stack.push_async_callback(asyncio.to_thread, self._tracing.close)
        for close in (self._factory.close, self._caps.close, self._sharing.close):
            self._stack.push_async_callback(close)
        self._stack.push_async_callback(self._listener.stop)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task until `stop`. If the task ends earlier, the program has a fault, and the fault is reported."""
        self._stack.push_async_callback(cancelled, self._background.start(work))

    def _failed(self, failure: BaseException) -> None:
        self._emit(BackgroundFailed(type(failure).__name__))

    async def _await_issuers(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_KEYS):
                assert self._factory.issuers is not None  # noqa: S101 - there are some
                await self._factory.issuers.first_keys()
        self._health.mark("issuers_asked", True)

    async def _keep_keys(self) -> None:
        await self._factory.open_store()
        await self._current.serving.keyring.verifier.run()

    async def _prepare_caps(self, snapshot: Snapshot) -> None:
        if any(policy.reads or policy.writes for policy in snapshot.policies.values()):
            await asyncio.to_thread(self._caps.prepare)

    def _follow_secrets(self) -> None:
        if self._sources.files and not self._secrets_followed:
            self._secrets_followed = True
            self._in_background(self._sources.watcher.run())

    async def _adopt(self, loaded: Loaded, changed: Collection[str], number: int) -> None:
        """Serve what was loaded from now on. A request that has begun goes on with what it began with."""
        snapshot = loaded.snapshot
        await self._prepare_caps(snapshot)
        if await asyncio.to_thread(self._listeners.reload_tls, snapshot.settings.tls, changed):
            self._listener.retire_certificates()
        self._current.serving = await self._factory.follow(snapshot, frozenset(loaded.needs.endpoints), changed, number)
        self._facts.snapshot, self._facts.needs = snapshot, loaded.needs
        self._facts.name_labels(self._metrics)
        raise_descriptors(snapshot.settings, self._emit)
        self._listener.limits = snapshot.settings.limits
        self._reporter.usage.prune(snapshot.policies)
        self._pacer.keep(self._current.serving.keyring.verifier.secrets)
        await self._sources.adopt(snapshot.keys)
        self._follow_secrets()

    async def drain(self, second_signal: asyncio.Event) -> None:
        """Stop without losing a request; see `gateway.runtime.drain`."""
        settings = self._snapshot.settings.drain
        self._health.mark("not_draining", False)
        self._current.draining = True
        self._emit(Draining(self._metrics.in_flight, settings.timeout))
        await drain(self._listener, self._listeners, settings, second_signal)

    def look(self) -> None:
        """Look whether secrets or the configuration have changed, without waiting for a notice of it."""
        if self.reloads is not None:
            self._background.start(self._look(self.reloads))

    async def _look(self, reloads: Reloads) -> None:
        await self._sources.read()
        await reloads.look()

    async def stop(self) -> None:
        """Close everything that `start` opened, in the opposite order."""
        await self._stack.aclose()
        if self._reported_start:
            self._emit(Stopped())

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).date()
