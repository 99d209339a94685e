"""Makes one snapshot of the settings, the policies, the catalog files and the secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import structs

from gateway.callers.kind import Available
from gateway.config.assembly.authentication import available, callers_of, check_settings
from gateway.config.assembly.catalog import read_catalog
from gateway.config.assembly.policies import Policies, PolicyCache, check_policy, read_folder
from gateway.config.assembly.routes import check_use, make_routes
from gateway.config.assembly.snapshot import Key, Slot, Snapshot
from gateway.config.assembly.storing import read_store
from gateway.config.reading.document import Document
from gateway.config.reading.problem import Steps, shown
from gateway.config.reading.section import Record
from gateway.config.schema import gateway
from gateway.config.schema.environment import SCOPES
from gateway.config.schema.values import is_private
from gateway.config.secret_source import MissingSecret, read_secret
from gateway.config.tls import check_tls
from gateway.core.catalog import Catalog
from gateway.core.routing import Routes
from gateway.core.secret import BadSecret
from gateway.net.client_tls import fault_of_certificates


class Assembly:
    """The work of one load. Problems go to the document's list, which the caller checks.

    ``cache`` holds the policies of the load before. ``offline`` opens no secret, certificate or key set.
    """

    def __init__(
        self,
        document: Document,
        environ: Mapping[str, str],
        *,
        offline: bool = False,
        cache: PolicyCache | None = None,
    ) -> None:
        self._document: Final = document
        self._environ: Final = environ
        self._offline: Final = offline
        self._cache: Final = cache
        root = document.root
        values = {} if root is None else Record(gateway.Gateway).values(root, (), document)
        self._settings: Final = gateway.Gateway(**{"keys": {}, "routes": (), **values})

    def snapshot(self, policy: Document | None) -> Snapshot:
        """The snapshot, with the policies of the folder or with one that has been opened already."""
        settings, document, look = self._settings, self._document, not self._offline
        catalog = read_catalog(settings.catalog, document.problems)
        self._check_listeners()
        verifying = check_settings(settings, document, look=look)
        check_tls(settings, document, look=look)
        can_verify = available(settings, document, verifying)
        policies = self._policies(policy, catalog, can_verify)
        self._check_anonymous(policies.anonymous)
        self._check_certificates()
        keys = {name: self._key(name, key) for name, key in settings.keys.items()}
        routes = make_routes(settings.routes, document, catalog, policies.callers)
        check_use(settings.routes, document)
        return Snapshot(
            settings=settings,
            keys=keys,
            routes=Routes(routes, catalog.endpoints),
            policies={entry.policy.caller: entry.policy for entry in policies.files},
            callers=callers_of(((entry.policy.caller, entry.authenticate) for entry in policies.files), verifying),
            catalog=catalog,
            store=read_store(settings, document, self._environ if look else None),
            files=policies.files,
            verifying=can_verify,
        )

    def paths(self, *, alone: bool = False) -> list[Path]:
        """Every file and folder that the document names; where it is ``alone``, there is no folder of policies."""
        return [*([] if alone else [self._settings.policies]), *self._document.files]

    def _policies(self, policy: Document | None, catalog: Catalog, verifying: Available | None) -> Policies:
        if policy is not None:
            found = check_policy(policy, catalog, verifying)
            own = (structs.replace(one, policy=one.policy._replace(variable=SCOPES)) for one in found.files)
            return structs.replace(found, files=tuple(own))
        return read_folder(self._settings.policies, catalog, self._document.problems, verifying, self._cache)

    def _key(self, name: str, entry: gateway.Key) -> Key:
        slots: list[Slot] = []
        missing: list[tuple[Steps, str]] = []
        for path, source in self._document.items(entry.secrets, "keys", name, "secrets"):
            secret = None
            try:
                secret = None if self._offline else read_secret(source, self._environ)
            except MissingSecret as error:
                missing.append((path, str(error)))
            except BadSecret as error:
                self._document.report(path, f"{shown(source)} {error}")
            slots.append(Slot(int(path[-1]) + 1, source, secret))
        # While another slot works, a slot may have no file yet, so that a rotation can be prepared.
        if len(missing) == len(slots):
            for path, message in missing:
                self._document.report(path, message)
        return Key(name, tuple(slots), entry.workspace)

    def _check_listeners(self) -> None:
        listen, admin = self._settings.listen, self._settings.admin
        sound = self._document.sound(("listen",)) and self._document.sound(("admin",))
        if sound and listen == admin and (listen.port or listen.path):
            self._document.report(("admin",), f"is the address of the traffic listener too, {shown(str(listen))}")

    def _check_anonymous(self, anonymous: str | None) -> None:
        settings = self._settings
        if anonymous is not None and not is_private(settings.listen) and not settings.dangerously_allow_anonymous:
            self._document.report(
                ("listen",),
                f"others than this machine reach {shown(str(settings.listen))}, and caller {shown(anonymous)} is "
                "anonymous; listen on loopback or a unix socket, give tokens instead, or say "
                "`dangerously_allow_anonymous: true`",
            )

    def _check_certificates(self) -> None:
        path = self._settings.upstream.ca
        if path is not None and not self._offline and (fault := fault_of_certificates(path)):
            self._document.report(("upstream", "ca"), f"{shown(str(path))} {fault}")
