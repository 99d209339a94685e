"""What one process has to show of itself: the state for gauges, and the status."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, time

import msgspec

from gateway import __version__
from gateway.admin.health import Health
from gateway.admin.status import caller_statuses
from gateway.budgets.pacing import Pacer
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.secret_source import MissingSecret, read_text
from gateway.core.drift import Needs
from gateway.core.secret import BadSecret
from gateway.keys.status import key_statuses
from gateway.keys.verifier import KeyVerifier
from gateway.proxy.serving import Current
from gateway.runtime.listeners import Listeners
from gateway.runtime.serving_factory import ServingFactory
from gateway.telemetry.gauge import State
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.status import IssuerStatus, KeyStatus, ReloadStatus, Status, moment
from gateway.telemetry.usage import Usage


def today(clock: Callable[[], float]) -> date:
    """The day in UTC."""
    return datetime.fromtimestamp(clock(), UTC).date()


class Facts(msgspec.Struct):
    """``needs`` are those of the configuration that is served; ``reload`` is how its last load went.

    ``config`` says where the configuration comes from. ``clock`` is Unix time in seconds, ``instance`` the process.
    """

    needs: Needs
    config: str
    clock: Callable[[], float]
    health: Health
    listeners: Listeners
    current: Current
    pacer: Pacer
    factory: ServingFactory
    usage: Usage
    started: float
    reload: ReloadStatus = msgspec.field(default_factory=ReloadStatus)
    instance: str = msgspec.field(default_factory=lambda: os.urandom(6).hex())

    @property
    def snapshot(self) -> Snapshot:
        """The configuration that is served."""
        return self.current.serving.snapshot

    @property
    def verifier(self) -> KeyVerifier:
        """What knows the keys' secrets, over every reload."""
        return self.current.serving.keyring.verifier

    def state(self) -> State:
        """What gauges show now. What was only counted since the last time is reported first."""
        self.current.serving.keyring.report_lookups()
        tls = self.listeners.tls
        return State(
            keys=self._keys(),
            budgets=self.pacer.status(),
            store=self.factory.store,
            issuers=self._issuers(),
            circuit_open=self.current.serving.upstream.circuit_open,
            restart_needed=bool(self.reload.restart_needed),
            policy_expires={
                caller: datetime.combine(policy.expires, time.min, UTC).timestamp()
                for caller, policy in self.snapshot.policies.items()
                if policy.expires is not None
            },
            certificate=None if tls is None else tls.validity,
        )

    def status(self) -> Status:
        """What the status shows now."""
        snapshot = self.snapshot
        return Status(
            version=__version__,
            started=moment(self.started),
            now=moment(self.clock()),
            config=self.config,
            upstream=snapshot.settings.upstream.url,
            listeners={"traffic": str(self.listeners.traffic), "admin": str(self.listeners.admin)},
            not_ready=self.health.reasons_not_ready(),
            reload=self.reload,
            store=self.factory.store,
            keys=self._keys(),
            callers=caller_statuses(snapshot.policies, self.usage, snapshot.callers.kinds()),
            instance=self.instance,
            issuers=self._issuers(),
        )

    def status_token(self) -> str | None:
        """The token that the status wants of other hosts, read anew; None where there is none, or it cannot be read."""
        source = self.snapshot.settings.status_token
        try:
            return None if source is None else read_text(source, os.environ)
        except (MissingSecret, BadSecret):
            return None

    def name_labels(self, metrics: Metrics) -> None:
        """Name the callers, endpoints, keys and issuers that labels of metrics may take."""
        metrics.know(
            callers=self.snapshot.policies,
            endpoints=[endpoint.name for endpoint in self.snapshot.catalog.endpoints],
            keys=self.snapshot.keys,
            issuers=[issuer.name for issuer in self.snapshot.callers.issuers],
        )

    def _keys(self) -> tuple[KeyStatus, ...]:
        scopes = self.snapshot.catalog.scopes
        return key_statuses(self.current.serving.keyring, self.needs, scopes, self.pacer.status())

    def _issuers(self) -> tuple[IssuerStatus, ...]:
        return () if self.factory.issuers is None else tuple(self.factory.issuers.statuses())
