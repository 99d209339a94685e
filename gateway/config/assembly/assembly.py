"""One snapshot put together from a gateway document, its policies, catalog files and secrets."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from msgspec import UNSET

from gateway.config.assembly.catalog import read_catalog
from gateway.config.assembly.policies import Kept, Policies, check_policies, read_folder
from gateway.config.assembly.routes import check_use, make_routes
from gateway.config.assembly.snapshot import Callers, IdentitySettings, Key, Limits, Pacing, Slot, Snapshot, Upstream
from gateway.config.assembly.storing import read_store
from gateway.config.proofs import Means
from gateway.config.proving import means, proof_files, read_issuer, read_tls, read_trust_domain
from gateway.config.reading.document import Document, check_once
from gateway.config.reading.problem import Steps, shown
from gateway.config.reading.reader import record_of
from gateway.config.reading.scalar import seconds, size
from gateway.config.schema import gateway_file
from gateway.config.schema.values import address, base_url, is_private
from gateway.config.secret_source import MissingSecret, located, read_secret
from gateway.core.catalog import Catalog, Lane
from gateway.core.routing import Routes
from gateway.core.secret import BadSecret
from gateway.net.listen_address import Address

T = TypeVar("T")


class Assembly:
    """The work of one load. Problems go to the document's list; whether there are any is for the caller to see.

    ``kept`` are the policies of the load before.
    """

    def __init__(
        self,
        document: Document,
        folder: Path,
        environ: Mapping[str, str],
        *,
        offline: bool = False,
        kept: Kept | None = None,
    ) -> None:
        self._document: Final = document
        self._folder: Final = folder
        self._environ: Final = environ
        self._offline: Final = offline
        self._kept: Final = kept
        root = document.root
        values = {} if root is None else record_of(gateway_file.Gateway).values(root, (), document)
        self._file: Final = gateway_file.Gateway(**{"keys": {}, "routes": (), **values})

    def snapshot(self, policy: Document | None) -> Snapshot:
        """The snapshot, with the policies of the folder or with one that has been opened already."""
        file, document = self._file, self._document
        catalog = read_catalog([self._folder / name for name in file.catalog], document.problems)
        listen, admin = self._listeners()
        trust_domain = read_trust_domain(file, document)
        tls = read_tls(file, document, self._base, look=not self._offline)
        issuer = read_issuer(file, document, self._base, look=not self._offline)
        policies = self._policies(policy, catalog, means(file, document, listen))
        self._check_anonymous(listen, policies.anonymous)
        keys = {name: self._key(name, key) for name, key in file.keys.items()}
        routes = make_routes(file.routes, document, catalog, policies.callers)
        check_use(file.routes, document)
        return Snapshot(
            listen=listen,
            admin=admin,
            upstream=self._upstream(),
            keys=keys,
            routes=Routes(routes, catalog.endpoints),
            policies={entry.policy.caller: entry.policy for entry in policies.files},
            callers=Callers(
                tokens={token: entry.policy.caller for entry in policies.files for token in entry.tokens},
                anonymous=policies.anonymous,
                kubernetes={account: entry.policy.caller for entry in policies.files for account in entry.kubernetes},
                spiffe={spiffe_id: entry.policy.caller for entry in policies.files for spiffe_id in entry.spiffe},
                unix_uids={uid: entry.policy.caller for entry in policies.files for uid in entry.unix_uids},
                issuer=issuer,
                trusted_spiffe_domain=trust_domain,
            ),
            identity=self._identity(),
            limits=self._limits(),
            log_level=file.log.level,
            log_format=file.log.format,
            drain_delay=seconds(file.drain.delay),
            drain_timeout=seconds(file.drain.timeout),
            catalog=catalog,
            tls=tls,
            pacing=Pacing(seconds(file.pacing.max_wait), file.pacing.max_queue),
            store=read_store(file, document, self._base, self._environ, look=not self._offline),
        )

    def paths(self, *, alone: bool = False) -> list[Path]:
        """Every file and folder that the document names; where it is ``alone``, there is no folder of policies."""
        file, base = self._file, self._base
        found = [] if alone else [base("policies") / file.policies]
        found += [self._folder / name for name in file.catalog]
        if file.upstream.ca is not UNSET:
            found.append(base("upstream", "ca") / file.upstream.ca)
        for name, key in file.keys.items():
            places = zip(self._document.places("keys", name, "secrets"), key.secrets, strict=False)
            sources = (located(source, base("keys", name, "secrets", place)) for place, source in places)
            found += [Path(source.removeprefix("file:")) for source in sources if source.startswith("file:")]
        return found + proof_files(file, base)

    def _base(self, *path: str | int) -> Path:
        """What a relative path is relative to: the file's folder, or the working directory for flags and variables."""
        return self._folder if self._document.origin(path) is None else Path()

    def _checked(self, path: Steps, make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except ValueError as error:
            self._document.report(path, str(error))
            return otherwise

    def _policies(self, policy: Document | None, catalog: Catalog, means: Means | None) -> Policies:
        if policy is not None:
            return check_policies([(Path(policy.file), policy)], catalog, means)
        folder = self._base("policies") / self._file.policies
        return read_folder(folder, catalog, self._document.problems, means, self._kept)

    def _key(self, name: str, entry: gateway_file.Key) -> Key:
        check_once(self._document, ("keys", name, "secrets"), entry.secrets)
        workspace = None if entry.workspace is UNSET else entry.workspace
        if self._offline:
            return Key(name, tuple(Slot(n, source, None) for n, source in enumerate(entry.secrets, 1)), workspace)
        slots: list[Slot] = []
        missing: list[tuple[Steps, str]] = []
        places = zip(self._document.places("keys", name, "secrets"), entry.secrets, strict=False)
        for place, source in places:
            path: Steps = ("keys", name, "secrets", place)
            source = located(source, self._base(*path))
            secret = None
            try:
                secret = read_secret(source, self._environ)
            except MissingSecret as error:
                missing.append((path, str(error)))
            except BadSecret as error:
                self._document.report(path, f"{shown(source)} {error}")
            slots.append(Slot(place + 1, source, secret))
        # A slot may wait for its file while the key works with another one: so a rotation can be prepared.
        if len(missing) == len(slots):
            for path, message in missing:
                self._document.report(path, message)
        return Key(name, tuple(slots), workspace)

    def _listeners(self) -> tuple[Address, Address]:
        file, nowhere = self._file, Address()
        listen = self._checked(("listen",), lambda: address(file.listen, self._base("listen")), nowhere)
        admin = self._checked(("admin",), lambda: address(file.admin, self._base("admin")), nowhere)
        if listen == admin and (listen.port or listen.path):
            self._document.report(("admin",), f"is the address of the traffic listener too, {shown(str(listen))}")
        return listen, admin

    def _check_anonymous(self, listen: Address, anonymous: str | None) -> None:
        file = self._file
        if (
            anonymous is not None
            and listen != Address()
            and not is_private(listen)
            and not file.dangerously_allow_anonymous
        ):
            self._document.report(
                ("listen",),
                f"others than this machine reach {shown(file.listen)}, and caller {shown(anonymous)} is anonymous; "
                "listen on loopback or a unix socket, give tokens instead, or say `dangerously_allow_anonymous: true`",
            )

    def _upstream(self) -> Upstream:
        file = self._file.upstream
        ca = None if file.ca is UNSET else self._base("upstream", "ca") / file.ca
        if ca is not None and not self._offline:
            self._check_certificates(ca)
        return Upstream(
            url=self._checked(("upstream", "url"), lambda: base_url(file.url), ""),
            ca=ca,
            connect_timeout=seconds(file.connect_timeout),
            response_timeout=seconds(file.response_timeout),
            idle_timeout=seconds(file.idle_timeout),
            max_connections=file.max_connections,
            key_errors=file.key_errors,
        )

    def _check_certificates(self, path: Path) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError:
            self._document.report(("upstream", "ca"), f"{shown(str(path))} holds no certificates in PEM")
        except OSError as error:
            self._document.report(("upstream", "ca"), f"{shown(str(path))} cannot be read: {error.strerror}")

    def _identity(self) -> IdentitySettings:
        file = self._file.identity
        return IdentitySettings(
            ttl=seconds(file.ttl),
            refused_ttl=seconds(file.refused_ttl),
            stale_if_error=seconds(file.stale_if_error),
            prefetch=file.prefetch,
        )

    def _limits(self) -> Limits:
        file = self._file.limits
        return Limits(
            head_timeout=seconds(file.head_timeout),
            keepalive_timeout=seconds(file.keepalive_timeout),
            body={Lane.READ: 0, Lane.WRITE: size(file.body.write), Lane.UPLOAD: size(file.body.upload)},
            connections=file.connections,
            connections_per_address=file.connections_per_address,
        )
