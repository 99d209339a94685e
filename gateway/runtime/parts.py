"""The parts of one process, made and not yet open."""

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.admin.health import Health
from gateway.budgets.caps import Caps
from gateway.budgets.pacing import Pacer
from gateway.budgets.sharing import Sharing
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.load import ConfigSource
from gateway.core.drift import needs
from gateway.keys.sources import Sources
from gateway.net.contents import Contents
from gateway.net.resolver import Lookup
from gateway.proxy.handler import Handler
from gateway.proxy.listener import Listener
from gateway.proxy.serving import Current
from gateway.runtime.adoption import Adoption
from gateway.runtime.facts import Facts, today
from gateway.runtime.listeners import Listeners
from gateway.runtime.reload import Reloads
from gateway.runtime.serving_factory import ServingFactory
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.reporter import Reporter
from gateway.telemetry.usage import Usage

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing


class Parts:
    """What `gateway.runtime.gateway.running` opens. To be made on a running loop.

    ``origin`` says how to load the configuration again, and ``contents`` are those of its files from before
    ``snapshot`` was loaded. ``config`` names it on the status page. ``clock`` is Unix time in seconds, ``lookup`` as
    for `Names`. Raises `CannotStart` where files of ``tls`` cannot be used.
    """

    def __init__(
        self,
        origin: ConfigSource,
        snapshot: Snapshot,
        contents: Contents,
        *,
        config: str,
        log: Log,
        clock: Callable[[], float] = time.time,
        lookup: Lookup = socket.getaddrinfo,
        tracing: "Tracing | None" = None,
    ) -> None:
        self.tracing: Final = tracing
        self.metrics: Final = Metrics(clock)
        self.metrics.watch_log(lambda: log.dropped)
        reporter = Reporter(log, self.metrics, Usage(clock))
        self.emit: Final = reporter.emit
        self.caps: Final = Caps(snapshot.store, emit=self.emit)
        factory = ServingFactory(snapshot.store, emit=self.emit, clock=clock, lookup=lookup)
        needed = needs(snapshot.policies.values(), snapshot.routes, snapshot.catalog.endpoints, today(clock))
        self.facts: Final = Facts(
            needed,
            config,
            clock,
            health=Health(),
            listeners=Listeners(snapshot.settings),
            current=Current(factory.first(snapshot, frozenset(needed.endpoints))),
            pacer=Pacer(wall=clock),
            factory=factory,
            usage=reporter.usage,
            started=clock(),
        )
        self.sharing: Final = Sharing(snapshot.store, self.facts.pacer, emit=self.emit)
        handler = Handler(
            self.facts.current, reporter, pacer=self.facts.pacer, caps=self.caps, clock=clock, tracing=tracing
        )
        self.listener: Final = Listener(handler, snapshot.settings.limits, self.emit)
        self.sources: Final = Sources(snapshot.keys, self.facts.verifier)
        adoption = Adoption(self.facts, self.listener, self.caps, self.sources, reporter)
        self.reloads: Final = Reloads(origin, contents, adoption)
