"""Wires the rooms together: listeners, start, signals, drain."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import aiohttp.http_parser
from aiohttp import web

from gateway import __version__
from gateway.admin import app as admin
from gateway.admin.drift import drift, needs
from gateway.admin.health import Health
from gateway.admin.status import Status, build
from gateway.config.snapshot import Address, Snapshot
from gateway.config.tls import upstream_context
from gateway.keys.identity import Identities
from gateway.keys.keyring import Keyring, SlotState
from gateway.proxy import footing
from gateway.proxy.handler import Handler
from gateway.proxy.listener import Listener
from gateway.proxy.serving import Current, Serving
from gateway.proxy.upstream import Upstream
from gateway.telemetry.facts import KeyFacts, SlotFacts
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.usage import Usage

_BACKLOG: Final = 1024
# How often a drain looks whether it is done, and how long answers that it cuts have to leave.
_LOOK: Final = 0.02
_CUT_GRACE: Final = 0.5
# A unix socket is for its owner and its group; in a pod, `fsGroup` is the group that both containers have.
_SOCKET_MODE: Final = 0o660


class CannotStart(Exception):
    """The process is not fit to hold keys, or an address is not to be had. The text is one line that says why."""


def check_runtime(*, debug: bool) -> None:
    """Raise `CannotStart` where the interpreter is set up so that keys could leak or requests be misread."""
    if aiohttp.http_parser.HttpRequestParser is aiohttp.http_parser.HttpRequestParserPy:
        raise CannotStart(
            "aiohttp runs without its C parser, whose stand-in is laxer; install a wheel with extensions and unset "
            "AIOHTTP_NO_EXTENSIONS"
        )
    if missing := footing.missing():
        raise CannotStart(
            f"aiohttp {aiohttp.__version__} lacks what this gateway stands on: {', '.join(missing)}; install the version "
            "that its requirements name"
        )
    if debug:
        raise CannotStart(
            "asyncio's debug mode is on, in which errors are told with their data; unset PYTHONASYNCIODEBUG and -X dev"
        )


class Gateway:
    """One process: the traffic listener, the admin listener, and what they share. ``clock`` is Unix time in seconds.

    ``config`` says where the configuration comes from, for the status page.
    """

    def __init__(self, snapshot: Snapshot, *, config: str, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._snapshot: Final = snapshot
        self._config: Final = config
        self._log: Final = log
        self._clock: Final = clock
        self._started = clock()
        self._health: Final = Health()
        self._metrics: Final = Metrics()
        self._usage: Final = Usage(clock)
        self._stack: Final = contextlib.AsyncExitStack()
        self.traffic: Address = snapshot.listen
        self.admin: Address = snapshot.admin

    async def start(self) -> None:
        """Open both listeners. Raises `CannotStart` where an address is not to be had."""
        snapshot = self._snapshot
        self._know(snapshot)
        tls = upstream_context(snapshot.upstream.ca) if snapshot.upstream.url.startswith("https:") else None
        identities = Identities(
            url=snapshot.upstream.url,
            settings=snapshot.identity,
            timeout=snapshot.upstream.connect_timeout,
            ssl=tls,
            on_lookup=self._metrics.identity_lookup,
        )
        self._stack.push_async_callback(identities.close)
        upstream = Upstream(snapshot.upstream, tls, on_retry=self._metrics.upstream_retry)
        self._stack.push_async_callback(upstream.close)
        self._keyring = Keyring(snapshot.keys, identities, wall=self._clock)
        self._current = Current(Serving(snapshot, self._keyring, upstream))
        self._handler = Handler(self._current, self._metrics, self._log, self._usage, clock=self._clock)
        self._listener = Listener(self._handler, snapshot.limits, self._log)
        self._stack.push_async_callback(self._listener.stop)
        await self._open_admin()
        self._health.mark("config_loaded", True)
        await self._open_traffic()
        self._health.mark("listener_open", True)
        if snapshot.identity.prefetch:
            self._prefetch = asyncio.create_task(self._keyring.prefetch())
            self._stack.push_async_callback(_end, self._prefetch)
        self._log.event(
            "info",
            "started",
            version=__version__,
            config=self._config,
            listener=str(self.traffic),
            address=str(self.admin),
            keys=len(snapshot.keys),
            policies=len(snapshot.policies),
        )

    def _know(self, snapshot: Snapshot) -> None:
        self._needs = needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, self._today())
        self._metrics.know(
            callers=snapshot.policies,
            endpoints=[endpoint.name for endpoint in snapshot.catalog.endpoints],
            keys=snapshot.keys,
        )
        self._metrics.watch_keys(self._key_facts)
        self._metrics.watch_log(lambda: self._log.dropped)
        self._metrics.config_loaded(ok=True, now=self._clock())

    async def _open_admin(self) -> None:
        runner = web.AppRunner(admin.admin_app(self._metrics, self._health, self._status), access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        server, address = runner.server, self._snapshot.admin
        assert server is not None  # noqa: S101 - setup has run
        listening = await _listen(lambda: admin.Connection(server), address, "admin")
        self._stack.callback(listening.close)
        self.admin = _bound(address, listening)

    async def _open_traffic(self) -> None:
        address = self._snapshot.listen
        self._server = await _listen(self._listener, address, "traffic")
        self._stack.callback(self._server.close)
        self.traffic = _bound(address, self._server)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Stop without losing a request: not ready at once, then no new connections, then no new requests.

        For `drain.delay` it goes on accepting and tells each caller to come back on another connection. What is then
        in hand has until `drain.timeout`. ``hurry`` ends the waiting.
        """
        loop = asyncio.get_running_loop()
        self._health.mark("not_draining", False)
        self._current.draining = True
        self._log.event("info", "draining", in_flight=self._metrics.in_flight, seconds=self._snapshot.drain_timeout)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._snapshot.drain_delay):
                await hurry.wait()
        self._server.close()
        self._listener.close_idle()
        await self._until_finished(hurry, loop.time() + self._snapshot.drain_timeout)
        if self._listener.unfinished:
            self._handler.cut()
            await self._until_finished(asyncio.Event(), loop.time() + _CUT_GRACE)

    async def _until_finished(self, hurry: asyncio.Event, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while self._listener.unfinished and loop.time() < deadline and not hurry.is_set():  # noqa: ASYNC110 - seconds, once
            await asyncio.sleep(_LOOK)

    async def stop(self) -> None:
        """Close everything that `start` opened, in the opposite order."""
        await self._stack.aclose()
        self._log.event("info", "stopped")

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).date()

    def _key_facts(self) -> list[KeyFacts]:
        slots: dict[str, list[SlotState]] = {}
        for state in self._keyring.states():
            slots.setdefault(state.key, []).append(state)
        held = {key: _scopes(states) for key, states in slots.items()}
        drifts = drift(self._needs, held)
        return [
            KeyFacts(
                key,
                tuple(_slot_facts(state) for state in states),
                missing=drifts[key].missing if key in drifts else None,
                excess=drifts[key].excess if key in drifts else None,
            )
            for key, states in slots.items()
        ]

    def _status(self) -> Status:
        return build(
            config=self._config,
            upstream=self._snapshot.upstream.url,
            listeners={"traffic": str(self.traffic), "admin": str(self.admin)},
            not_ready=self._health.reasons_not_ready(),
            started=self._started,
            now=self._clock(),
            policies=self._snapshot.policies,
            keys=self._key_facts(),
            budgets=self._metrics.budgets,
            usage=self._usage,
        )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _listen(factory: Callable[[], asyncio.Protocol], address: Address, name: str) -> asyncio.Server:
    """A socket that is open and listens. Raises `CannotStart`."""
    loop = asyncio.get_running_loop()
    try:
        if address.path is None:
            return await loop.create_server(factory, address.host, address.port, backlog=_BACKLOG, reuse_address=True)
        server = await loop.create_unix_server(factory, str(address.path), backlog=_BACKLOG)
        await asyncio.to_thread(Path(address.path).chmod, _SOCKET_MODE)
    except OSError as error:
        raise CannotStart(f"the {name} listener cannot listen on {address}: {error.strerror}") from None
    return server


def _bound(asked: Address, server: asyncio.Server) -> Address:
    """The address in use, with the port that the system chose where 0 was asked for."""
    return asked if asked.path is not None else Address(asked.host, int(server.sockets[0].getsockname()[1]))


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
    )


async def serve(gateway: Gateway) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the drain. Raises `CannotStart`."""
    loop = asyncio.get_running_loop()
    asked, hurry = asyncio.Event(), asyncio.Event()

    def heed() -> None:
        (hurry if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed)
    try:
        await gateway.start()
        await asked.wait()
        await gateway.drain(hurry)
    finally:
        await gateway.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
