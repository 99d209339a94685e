"""A folder of policy files, one caller each, with what holds between them."""

import contextlib
import hashlib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.assembly.catalog import unknown_endpoint, unknown_scope
from gateway.config.proofs import Claims, Means, check_proofs
from gateway.config.reading.document import Document
from gateway.config.reading.problem import Problem, shown
from gateway.config.reading.section import read
from gateway.config.reading.source import parse, read_file
from gateway.config.schema import policy as schema
from gateway.core.catalog import Catalog, Endpoint
from gateway.core.policy import Policy


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy, how its caller is known, and the file it stands in.

    ``tokens`` are SHA-256 digests, 32 bytes each; ``kubernetes`` are ``namespace/serviceaccount``.
    """

    file: Path
    policy: Policy
    tokens: tuple[bytes, ...]
    anonymous: bool
    kubernetes: tuple[str, ...] = ()
    spiffe: tuple[str, ...] = ()
    unix_uids: tuple[int, ...] = ()

    @property
    def claims(self) -> list[tuple[str, object]]:
        """What no other caller may be known by, as `Claims` has it."""
        return [
            *(("tokens", token) for token in self.tokens),
            *(("kubernetes", account) for account in self.kubernetes),
            *(("spiffe", spiffe_id) for spiffe_id in self.spiffe),
            *(("unix_uids", uid) for uid in self.unix_uids),
        ]

    @property
    def cases(self) -> Path:
        """Where the truth table of this policy is, if it has one."""
        return self.file.with_name(f"{self.file.name.removesuffix('.yaml')}.cases.yaml")


@dataclass(frozen=True, slots=True)
class Policies:
    """What a folder holds: the policies without a problem, and what is known of all.

    ``callers`` is None where some file's caller could not be read. ``anonymous`` is the caller who is.
    """

    files: tuple[PolicyFile, ...]
    callers: frozenset[str] | None
    anonymous: str | None


def read_policies(folder: Path, catalog: Catalog) -> tuple[tuple[PolicyFile, ...], list[Problem]]:
    """The policies of a folder and everything that is wrong with them. A policy with a problem is left out."""
    problems: list[Problem] = []
    return read_folder(folder, catalog, problems).files, problems


class Kept:
    """The policies that were sound when a folder was last read, so that only what has changed since is parsed anew."""

    def __init__(self) -> None:
        self._basis: object = None
        self._files: dict[Path, tuple[bytes, PolicyFile]] = {}

    def of(self, basis: object) -> dict[Path, tuple[bytes, PolicyFile]]:
        """Each file's digest and its policy, where they were read on the same basis: catalog and means."""
        return self._files if basis == self._basis else {}

    def become(self, basis: object, files: dict[Path, tuple[bytes, PolicyFile]]) -> None:
        self._basis, self._files = basis, files


def read_folder(
    folder: Path, catalog: Catalog, problems: list[Problem], means: Means | None = None, kept: Kept | None = None
) -> Policies:
    """The same with the names of all callers; what is wrong goes to ``problems``."""
    basis = (catalog.endpoints, catalog.scopes, means)
    before = {} if kept is None else kept.of(basis)
    now: dict[Path, tuple[bytes, PolicyFile]] = {}
    gathered = _Gathered(catalog, means)
    for path in _policy_paths(folder, problems):
        data = _read(path, problems)
        digest = hashlib.blake2b(data or b"", digest_size=16).digest()
        known, file = before.get(path, (b"", None))
        if file is None or known != digest or not gathered.add_again(file):
            file = gathered.add(path, parse(str(path), data, problems))
        if file is not None:
            now[path] = digest, file
    if kept is not None:
        kept.become(basis, now)
    return gathered.policies()


def _read(path: Path, problems: list[Problem]) -> bytes | None:
    """As `read_file`. Of a pipe there is no end to be waited for, and a folder can hold one by mistake."""
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(path.stat().st_mode):
            problems.append(Problem(str(path), 0, "", "cannot be read: it is a pipe"))
            return None
    return read_file(path, problems)


def check_policies(
    documents: Sequence[tuple[Path, Document]], catalog: Catalog, means: Means | None = None
) -> Policies:
    """Policies of documents that have been opened, checked by themselves and against each other.

    ``means`` is what a ``gateway.yaml`` lets callers prove themselves by, where there is one.
    """
    gathered = _Gathered(catalog, means)
    for path, document in documents:
        gathered.add(path, document)
    return gathered.policies()


class _Gathered:
    """Policies taken one after the other, each checked by itself and against those before it."""

    def __init__(self, catalog: Catalog, means: Means | None) -> None:
        self._catalog: Final = catalog
        self._means: Final = means
        self._files: Final[list[PolicyFile]] = []
        self._callers: Final[dict[str, str]] = {}
        self._claims: Final[Claims] = {}
        self._anonymous: str | None = None
        self._unknown = False

    def add(self, path: Path, document: Document) -> PolicyFile | None:
        """Take what a document says; None where there is a problem with it, which is then reported."""
        entry = read(schema.Policy, document)
        if entry is None:
            self._unknown = True
            return None
        if (other := self._callers.setdefault(entry.caller, document.file)) != document.file:
            document.report(("caller",), f"{shown(entry.caller)} has a policy already, in {other}")
        file = _policy_file(path, entry, _policy(entry, document, self._catalog))
        check_proofs(entry, document, self._claims, self._means)
        if file.anonymous and self._anonymous is not None:
            message = f"caller {shown(self._anonymous)} is anonymous already"
            document.report(("authenticate", "anonymous"), message)
        elif file.anonymous:
            self._anonymous = entry.caller
        if not document.sound(()):
            return None
        self._files.append(file)
        return file

    def add_again(self, file: PolicyFile) -> bool:
        """Take a policy that was sound by itself; False, and nothing done, where it does not go with those before."""
        caller, claims = file.policy.caller, file.claims
        if caller in self._callers or (file.anonymous and self._anonymous is not None):
            return False
        if not self._claims.keys().isdisjoint(claims):
            return False
        self._callers[caller] = str(file.file)
        self._claims.update(dict.fromkeys(claims, caller))
        if file.anonymous:
            self._anonymous = caller
        self._files.append(file)
        return True

    def policies(self) -> Policies:
        return Policies(tuple(self._files), None if self._unknown else frozenset(self._callers), self._anonymous)


def _policy_paths(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """The policy files of a folder, in order of name. Hidden ones are those of a Kubernetes volume's own workings."""
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems.append(Problem(str(folder), 0, "", f"this folder of policies cannot be read: {error.strerror}"))
        return
    found = False
    for name in names:
        path = folder / name
        if name.endswith((".yml", ".json")):
            problems.append(Problem(str(path), 0, "", "would not be read as a policy; name it *.yaml or move it away"))
        elif name.endswith(".yaml") and not name.endswith(".cases.yaml"):
            found = True
            yield path
    if not found:
        problems.append(Problem(str(folder), 0, "", "holds no policy; without one, nothing is allowed to anybody"))


def _policy(entry: schema.Policy, document: Document, catalog: Catalog) -> Policy:
    for place, scope in zip(document.places("scopes"), entry.scopes, strict=False):
        if scope not in catalog.scopes:
            document.report(("scopes", place), unknown_scope(scope, catalog.scopes))
    return Policy(
        entry.caller,
        frozenset(entry.scopes),
        _endpoints("endpoints", entry.endpoints, document, catalog),
        _endpoints("deny", entry.deny, document, catalog),
        entry.mode == "audit",
        entry.expires,
        reads=entry.limits.reads_per_minute,
        writes=entry.limits.writes_per_minute,
        weight=entry.weight,
    )


def _endpoints(key: str, names: Sequence[str], document: Document, catalog: Catalog) -> frozenset[Endpoint]:
    found: set[Endpoint] = set()
    for place, name in zip(document.places(key), names, strict=False):
        endpoint = catalog.named(name)
        if endpoint is None:
            document.report((key, place), unknown_endpoint(name, catalog))
        elif endpoint in found:
            document.report((key, place), f"{shown(name)} is named twice")
        else:
            found.add(endpoint)
    return frozenset(found)


def _policy_file(path: Path, entry: schema.Policy, policy: Policy) -> PolicyFile:
    proofs = entry.authenticate
    return PolicyFile(
        path,
        policy,
        proofs.tokens,
        proofs.anonymous,
        kubernetes=proofs.kubernetes,
        spiffe=proofs.spiffe,
        unix_uids=proofs.unix_uids,
    )
