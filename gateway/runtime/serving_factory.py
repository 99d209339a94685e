"""What a configuration is served with: the leg to Productlane, the keys, and who vouches for callers.

A configuration that follows another keeps what its settings did not change: connections, the memory of identities and
when each key was used, the issuer's keys.
"""

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, Final

from gateway.aio.background import Background
from gateway.callers.identification import Identification
from gateway.config.assembly.snapshot import Snapshot
from gateway.config.schema.values import is_loopback
from gateway.config.store import Store
from gateway.keys.identity import Identities
from gateway.keys.keyring import Keyring
from gateway.keys.me_values import MeSettings
from gateway.keys.store import kind_of, make_store
from gateway.keys.verifier import KeyVerifier, Needs
from gateway.net.client_tls import upstream_context
from gateway.net.resolver import Lookup, Names, Resolver
from gateway.proxy.serving import Serving
from gateway.proxy.upstream import Upstream
from gateway.runtime.reported import reported
from gateway.telemetry.event import Emit
from gateway.telemetry.status import StoreStatus

if TYPE_CHECKING:
    from gateway.callers.issuers import Issuers

# How often it is looked whether an upstream that was replaced is done with its last exchange.
_LOOK: Final = 1.0
# What is asked of the old ones was asked before the change; a question takes no longer than its time-out and a bit.
_GRACE: Final = 1.0
# How long the first questions after a start wait for the store; no request does.
_OPENING: Final = 1.0


class ServingFactory:
    """Makes a `Serving` of a configuration, and closes what is replaced once nobody uses it.

    ``clock`` is Unix time, ``lookup`` as for `Names`. ``issuers`` are those of callers' tokens, None without any.
    """

    def __init__(
        self,
        store: Store,
        *,
        emit: Emit,
        clock: Callable[[], float],
        lookup: Lookup,
    ) -> None:
        self._emit: Final = emit
        self._clock: Final = clock
        self._store: Final = store
        self._kept: Final = make_store(store, wall=clock, emit=emit)
        self._upstream_names: Final = Names("upstream", emit, lookup=lookup)
        self._issuer_names: Final = Names("issuer", emit, lookup=lookup)
        self.issuers: Issuers | None = None
        self._watching: Final = Background()
        self._leaving: Final = Background()

    def first(self, snapshot: Snapshot, needs: Needs) -> Serving:
        """Everything made anew. It blocks for as long as reading the system's certificates takes."""
        tls = _upstream_tls(snapshot)
        verifier = KeyVerifier(
            self._identities(snapshot, tls),
            emit=self._emit,
            wall=self._clock,
            prefetch=snapshot.settings.identity.prefetch,
        )
        keyring = Keyring(verifier.adopt(snapshot.keys, needs=needs), verifier)
        upstream = self._upstream(snapshot, tls)
        upstream.expect(len(snapshot.policies))
        return Serving(snapshot, keyring, upstream, self._identification(snapshot))

    async def follow(
        self, before: Serving, snapshot: Snapshot, needs: Needs, changed: Collection[str], number: int
    ) -> Serving:
        """What serves after ``before``, which is the last that was made here.

        ``changed`` are the paths whose content is new, ``number`` that of the reading of keys. Raises OSError where a
        certificate can no longer be read; then nothing has changed.
        """
        other_ca = str(snapshot.settings.upstream.ca) in changed
        other_upstream = other_ca or _leg(snapshot) != _leg(before.snapshot)
        other_identities = other_ca or _questions(snapshot) != _questions(before.snapshot)
        tls = await asyncio.to_thread(_upstream_tls, snapshot) if other_upstream or other_identities else None
        verifier, identification = before.keyring.verifier, self._identification(snapshot)
        upstream, identities = before.upstream, verifier.identities
        if other_upstream:
            self._leave(_drained(upstream))
            upstream = self._upstream(snapshot, tls)
        if other_identities:
            self._leave(_later(identities.close, before.snapshot.settings.upstream.connect_timeout + _GRACE))
            identities = self._identities(snapshot, tls, identities)
        adopted = verifier.adopt(
            snapshot.keys,
            needs=needs,
            number=number,
            identities=identities,
            prefetch=snapshot.settings.identity.prefetch,
            upstream_changed=snapshot.settings.upstream.url != before.snapshot.settings.upstream.url,
        )
        before.keyring.retire()
        keyring = Keyring(adopted, verifier)
        upstream.expect(len(snapshot.policies))
        return Serving(snapshot, keyring, upstream, identification)

    async def close(self, serving: Serving) -> None:
        """Close the last that was made here, and the replaced ones too."""
        await self._leaving.close()
        await self._watching.close()
        if self.issuers is not None:
            await self.issuers.close()
        await serving.upstream.close()
        await serving.keyring.verifier.identities.close()
        if self._kept is not None:
            await self._kept.close()

    async def open_store(self) -> None:
        """Make the store ready, so that the first questions after a start find what is in it."""
        if self._kept is not None:
            await self._kept.open(_OPENING)

    @property
    def store(self) -> StoreStatus:
        """What there is to tell of the store."""
        place = None if self._store is None else str(self._store)
        return StoreStatus(kind_of(self._store), place, {} if self._kept is None else dict(self._kept.faults))

    def _leave(self, closing: Coroutine[Any, Any, None]) -> None:
        self._leaving.start(reported(closing, self._emit))

    def _identities(
        self, snapshot: Snapshot, tls: ssl.SSLContext | None, after: Identities | None = None
    ) -> Identities:
        upstream = snapshot.settings.upstream
        settings = MeSettings(
            upstream=upstream.url,
            identity=snapshot.settings.identity,
            timeout=upstream.connect_timeout,
            ssl=tls,
            resolver=Resolver(self._upstream_names, upstream.connect_timeout / 2),
            store=self._kept,
            wall=self._clock,
        )
        return Identities(settings, emit=self._emit, after=after)

    def _upstream(self, snapshot: Snapshot, tls: ssl.SSLContext | None) -> Upstream:
        return Upstream(
            snapshot.settings.upstream,
            tls,
            names=self._upstream_names,
            emit=self._emit,
        )

    def _identification(self, snapshot: Snapshot) -> Identification:
        """What identifies callers. Issuers whose settings are new are asked for their keys from now on."""
        settings, before, issuers = snapshot.callers.issuers, self.issuers, self.issuers
        loopback = is_loopback(snapshot.settings.listen.host)
        if not settings and before is None:
            return Identification(snapshot.callers, loopback=loopback)
        # 50 ms and 9 MB that only this needs.
        from gateway.callers.issuer import TIMEOUT
        from gateway.callers.issuers import Issuers

        if issuers is None or tuple(issuers.sets) != settings:
            issuers = Issuers(settings, after=before, emit=self._emit, resolver=Resolver(self._issuer_names))
            self._watching.start(reported(issuers.run(), self._emit))
            if before is not None:
                before.retire()
                self._leave(_later(functools.partial(before.close, issuers), TIMEOUT + _GRACE))
            self.issuers = issuers
        return Identification(snapshot.callers, issuers.keys, loopback=loopback)


def _upstream_tls(snapshot: Snapshot) -> ssl.SSLContext | None:
    return (
        upstream_context(snapshot.settings.upstream.ca) if snapshot.settings.upstream.url.startswith("https:") else None
    )


def _leg(snapshot: Snapshot) -> object:
    """What an `Upstream` is made of; the setting for key errors is read from the snapshot."""
    return snapshot.settings.upstream.replaced(key_errors="relay", request_fields=())


def _questions(snapshot: Snapshot) -> object:
    """What `Identities` are made of."""
    upstream = snapshot.settings.upstream
    return upstream.url, upstream.ca, upstream.connect_timeout, snapshot.settings.identity.replaced(prefetch=True)


async def _drained(upstream: Upstream) -> None:
    upstream.retire()
    try:
        while upstream.busy:  # noqa: ASYNC110 - seconds, once for each change of upstream
            await asyncio.sleep(_LOOK)
    finally:
        await upstream.close()


async def _later(close: Callable[[], Awaitable[None]], seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await close()
