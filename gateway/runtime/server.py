"""Wires the rooms together: listeners, start, signals, drain."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Coroutine
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp.http_parser
from aiohttp import web

from gateway import __version__
from gateway.admin import app as admin
from gateway.admin.connections import AdminConnection, Places
from gateway.admin.health import Health
from gateway.admin.status import build
from gateway.aio.background import Background
from gateway.aio.waiting import cancelled, happened
from gateway.budgets.caps import Caps
from gateway.budgets.pacing import Pacer
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.origin import Origin
from gateway.config.schema.gateway import Tls
from gateway.config.secret_source import MissingSecret, read_text
from gateway.config.tls import BadTls
from gateway.core.drift import needs
from gateway.core.secret import BadSecret
from gateway.keys.sources import Sources
from gateway.keys.status import key_statuses
from gateway.keys.verifier import KeyVerifier
from gateway.net.contents import Contents
from gateway.net.listen_address import Address
from gateway.net.resolver import Lookup
from gateway.net.sockets import CannotStart as CannotStart
from gateway.net.sockets import bound, listen
from gateway.proxy.handler import Handler
from gateway.proxy.listener import Listener
from gateway.proxy.serving import Current
from gateway.proxy.tls import ListenerTls
from gateway.runtime.loading import Loaded
from gateway.runtime.process import descriptors
from gateway.runtime.reload import Reloads
from gateway.runtime.serving_factory import ServingFactory
from gateway.telemetry.events.process import BackgroundFailed, DescriptorsShort, Draining, Started, Stopped
from gateway.telemetry.gauge import State
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.reporter import Reporter
from gateway.telemetry.status import IssuerStatus, KeyStatus, ReloadStatus, Status
from gateway.telemetry.usage import Usage

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing

# Descriptors beside those of traffic: log, store, resolver, watched files, the admin listener and its connections.
_OTHER_FILES: Final = 128
# How often a drain looks whether it is done, and how long answers that it cuts have to leave.
_LOOK: Final = 0.02
_CUT_GRACE: Final = 0.5
# How long a new process is not ready while it has no keys of an issuer. A rollout then stops; after it, callers with
# other credentials are served all the same.
_FIRST_KEYS: Final = 20.0
# How long a caller may take to say goodbye in TLS; asyncio's 30 s would hold up the end of a drain.
_TLS_GOODBYE: Final = 2.0


def check_runtime(*, debug: bool) -> None:
    """Raise `CannotStart` where the interpreter is set up so that keys could leak or requests be misread."""
    if aiohttp.http_parser.HttpRequestParser is aiohttp.http_parser.HttpRequestParserPy:
        raise CannotStart(
            "aiohttp runs without its C parser, whose stand-in is laxer; install a wheel with extensions and unset "
            "AIOHTTP_NO_EXTENSIONS"
        )
    if debug:
        raise CannotStart(
            "asyncio's debug mode is on, in which errors are told with their data; unset PYTHONASYNCIODEBUG and -X dev"
        )


class Gateway:
    """One process: the traffic listener, the admin listener, and what they share. ``clock`` is Unix time in seconds.

    ``config`` says where the configuration comes from, for the status page. With an ``origin``, and its ``contents``
    from before the snapshot was loaded, changes of the files are followed. ``lookup`` is as for `Names`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        config: str,
        log: Log,
        clock: Callable[[], float] = time.time,
        origin: Origin | None = None,
        contents: Contents | None = None,
        lookup: Lookup = socket.getaddrinfo,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._snapshot = snapshot
        self._config: Final = config
        self._origin: Final = origin
        self._contents: Final = contents
        self.reloads: Reloads | None = None
        self._log: Final = log
        self._clock: Final = clock
        self._tracing: Final = tracing
        self._started = clock()
        self._instance: Final = os.urandom(6).hex()
        self._health: Final = Health()
        self._metrics: Final = Metrics()
        self._usage: Final = Usage(clock)
        self._reporter: Final = Reporter(log, self._metrics, self._usage)
        self._emit: Final = self._reporter.emit
        self._pacer: Final = Pacer(wall=clock)
        self._caps: Final = Caps(snapshot.store, emit=self._emit)
        self._factory: Final = ServingFactory(snapshot.store, emit=self._emit, clock=clock, lookup=lookup)
        self._stack: Final = contextlib.AsyncExitStack()
        self._background: Final = Background(self._failed)
        self.traffic: Address = snapshot.settings.listen
        self.admin: Address = snapshot.settings.admin
        self.tls: ListenerTls | None = None
        self._secrets_followed = False
        self._reported_start = False

    async def start(self) -> None:
        """Open both listeners. Raises `CannotStart` where an address is not to be had."""
        snapshot = self._snapshot
        self._stack.push_async_callback(self._background.close)
        if self._tracing is not None:
            self._stack.push_async_callback(asyncio.to_thread, self._tracing.close)
        self._needs = needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, self._today())
        self._metrics.watch(self._state)
        self._metrics.watch_log(lambda: self._log.dropped)
        self._know(snapshot)
        self._metrics.config_loaded(ok=True, now=self._clock())
        self._raise_descriptors(snapshot)
        self._current = Current(self._factory.first(snapshot, frozenset(self._needs.endpoints)))
        self._stack.push_async_callback(self._factory.close)
        self._stack.push_async_callback(self._caps.close)
        await self._prepare_caps(snapshot)
        self._handler = Handler(
            self._current,
            self._reporter,
            pacer=self._pacer,
            caps=self._caps,
            clock=self._clock,
            tracing=self._tracing,
        )
        self._listener = Listener(self._handler, snapshot.settings.limits, self._reporter.emit)
        self._stack.push_async_callback(self._listener.stop)
        await self._open_admin()
        self._health.mark("config_loaded", True)
        await self._open_traffic()
        self._health.mark("listener_open", True)
        verifier = self._current.serving.keyring.verifier
        self._sources = Sources(snapshot.keys, verifier)
        self._in_background(self._keep_keys(verifier))
        if snapshot.callers.issuers:
            self._in_background(self._await_issuers())
        else:
            self._health.mark("issuers_asked", True)
        self._follow_secrets()
        self._follow_config()
        addresses = str(self.traffic), str(self.admin)
        self._emit(Started(__version__, self._config, *addresses, len(snapshot.keys), len(snapshot.policies)))
        self._reported_start = True

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something go on until `stop`. That it ends before is a fault of the program, and told."""
        self._stack.push_async_callback(cancelled, self._background.start(work))

    def _failed(self, failure: BaseException) -> None:
        self._emit(BackgroundFailed(type(failure).__name__))

    def _issuers(self) -> list[IssuerStatus]:
        return [] if self._factory.issuers is None else self._factory.issuers.statuses()

    async def _await_issuers(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_KEYS):
                assert self._factory.issuers is not None  # noqa: S101 - there are some
                await self._factory.issuers.first_keys()
        self._health.mark("issuers_asked", True)

    async def _keep_keys(self, verifier: KeyVerifier) -> None:
        await self._factory.open_store()
        await verifier.run()

    async def _prepare_caps(self, snapshot: Snapshot) -> None:
        if any(policy.reads or policy.writes for policy in snapshot.policies.values()):
            await asyncio.to_thread(self._caps.prepare)

    def _follow_secrets(self) -> None:
        if self._sources.files and not self._secrets_followed:
            self._secrets_followed = True
            self._in_background(self._sources.watcher.run())

    def _follow_config(self) -> None:
        if self._origin is None:
            return
        self.reloads = Reloads(
            self._origin,
            self._contents,
            running=lambda: self._snapshot,
            begin=self._current.serving.keyring.verifier.begin_reading,
            adopt=self._adopt,
            today=self._today,
            emit=self._emit,
            metrics=self._metrics,
            clock=self._clock,
        )
        self._in_background(self.reloads.watcher.run())

    async def _adopt(self, loaded: Loaded, changed: Collection[str], number: int) -> None:
        """Serve what was loaded from now on. A request that has begun goes on with what it began with."""
        snapshot = loaded.snapshot
        await self._prepare_caps(snapshot)
        if (
            self.tls is not None
            and snapshot.settings.tls is not None
            and not _files(snapshot.settings.tls).isdisjoint(changed)
        ):
            await asyncio.to_thread(self.tls.reload)
            self._listener.retire_certificates()
        self._current.serving = await self._factory.follow(snapshot, frozenset(loaded.needs.endpoints), changed, number)
        self._snapshot, self._needs = snapshot, loaded.needs
        self._know(snapshot)
        self._raise_descriptors(snapshot)
        self._listener.limits = snapshot.settings.limits
        self._usage.prune(snapshot.policies)
        self._pacer.keep(self._current.serving.keyring.verifier.secrets)
        await self._sources.adopt(snapshot.keys)
        self._follow_secrets()

    def _raise_descriptors(self, snapshot: Snapshot) -> None:
        """See to it that every connection that the settings allow finds a descriptor; report where it cannot."""
        needed = snapshot.settings.limits.connections + snapshot.settings.upstream.max_connections + _OTHER_FILES
        limit = descriptors(needed)
        if limit < needed:
            reason = "raise the hard limit of open files (RLIMIT_NOFILE), or lower limits.connections"
            self._emit(DescriptorsShort(limit, needed, reason))

    def _state(self) -> State:
        """What gauges show now."""
        snapshot = self._snapshot
        expiring = ((caller, policy.expires) for caller, policy in snapshot.policies.items())
        return State(
            keys=self._keys(),
            budgets=self._pacer.status(),
            store=self._factory.store,
            issuers=tuple(self._issuers()),
            circuit_open=self._current.serving.upstream.circuit_open,
            restart_needed=self.reloads is not None and bool(self.reloads.facts.restart_needed),
            policy_expires={
                caller: datetime.combine(day, datetime.min.time(), UTC).timestamp()
                for caller, day in expiring
                if day is not None
            },
            certificate=None if self.tls is None else self.tls.validity,
        )

    def _know(self, snapshot: Snapshot) -> None:
        self._metrics.know(
            callers=snapshot.policies,
            endpoints=[endpoint.name for endpoint in snapshot.catalog.endpoints],
            keys=snapshot.keys,
            issuers=[issuer.name for issuer in snapshot.callers.issuers],
        )

    async def _open_admin(self) -> None:
        app = admin.admin_app(self._metrics, self._health, self._status, self._status_token)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        server, address = runner.server, self._snapshot.settings.admin
        assert server is not None  # noqa: S101 - setup has run
        places = Places(self._emit)
        listening = await listen(lambda: AdminConnection(server, places), address, "admin")
        self._stack.callback(listening.close)
        self.admin = bound(address, listening)

    def _status_token(self) -> str | None:
        """The token that the status wants of other hosts, read anew; None where there is none, or it cannot be read."""
        source = self._snapshot.settings.status_token
        try:
            return None if source is None else read_text(source, os.environ)
        except (MissingSecret, BadSecret):
            return None

    async def _open_traffic(self) -> None:
        address = self._snapshot.settings.listen
        self._server = await listen(self._listener, address, "traffic", **self._tls_options())
        self._stack.callback(self._server.close)
        self.traffic = bound(address, self._server)
        if self._tracing is not None:
            self._tracing.listens(
                str(self.traffic.path or self.traffic.host), self.traffic.port, tls=self.tls is not None
            )

    def _tls_options(self) -> dict[str, Any]:
        """What a server is given to speak TLS, if it is to. A handshake is the beginning of a head."""
        tls = self._snapshot.settings.tls
        if tls is None:
            return {}
        if tls.client_ca is not None:
            # 20 ms that the first caller with a certificate would wait for.
            import gateway.callers.x509_svid  # noqa: F401
        try:
            self.tls = ListenerTls(tls)
        except BadTls as problem:
            raise CannotStart(f"tls.{problem.setting}: {problem}") from None
        return {
            "ssl": self.tls.context,
            "ssl_handshake_timeout": self._snapshot.settings.limits.head_timeout,
            "ssl_shutdown_timeout": _TLS_GOODBYE,
        }

    async def drain(self, second_signal: asyncio.Event) -> None:
        """Stop without losing a request: not ready at once, then no new connections, then no new requests.

        For `drain.delay` it goes on accepting and tells each caller to come back on another connection. What is then
        in hand has until `drain.timeout`. ``second_signal`` ends the waiting.
        """
        loop = asyncio.get_running_loop()
        self._health.mark("not_draining", False)
        self._current.draining = True
        self._emit(Draining(self._metrics.in_flight, self._snapshot.settings.drain.timeout))
        await happened(second_signal, self._snapshot.settings.drain.delay)
        self._server.close()
        self._listener.close_idle()
        await self._until_finished(second_signal, loop.time() + self._snapshot.settings.drain.timeout)
        if self._listener.unfinished:
            self._listener.cut()
            await self._until_finished(asyncio.Event(), loop.time() + _CUT_GRACE)

    async def _until_finished(self, second_signal: asyncio.Event, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while self._listener.unfinished and loop.time() < deadline and not second_signal.is_set():  # noqa: ASYNC110 - seconds, once
            await asyncio.sleep(_LOOK)

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

    def _keys(self) -> tuple[KeyStatus, ...]:
        catalog = self._snapshot.catalog
        return key_statuses(self._current.serving.keyring, self._needs, catalog.scopes, self._pacer.status())

    def _status(self) -> Status:
        return build(
            config=self._config,
            upstream=self._snapshot.settings.upstream.url,
            listeners={"traffic": str(self.traffic), "admin": str(self.admin)},
            not_ready=self._health.reasons_not_ready(),
            started=self._started,
            now=self._clock(),
            policies=self._snapshot.policies,
            keys=self._keys(),
            usage=self._usage,
            reload=ReloadStatus() if self.reloads is None else self.reloads.facts,
            store=self._factory.store,
            issuers=self._issuers(),
            authenticate=self._snapshot.callers.kinds(),
            instance=self._instance,
        )


def _files(tls: Tls) -> set[str]:
    return {str(path) for path in (tls.certificate, tls.private_key, tls.client_ca)}


async def serve(gateway: Gateway) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the drain. Raises `CannotStart`.

    SIGHUP looks at secrets and the configuration at once.
    """
    loop = asyncio.get_running_loop()
    asked, second_signal = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second_signal if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, gateway.look)
    try:
        await gateway.start()
        await asked.wait()
        await gateway.drain(second_signal)
    finally:
        await gateway.stop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
