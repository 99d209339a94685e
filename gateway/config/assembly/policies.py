"""A folder of policy files, one caller each, checked one by one and against each other."""

import contextlib
import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.callers.kind import Available
from gateway.config.assembly.authentication import (
    ANONYMOUS,
    Authenticated,
    Claims,
    check_authenticate,
    claims_of,
    entries_of,
)
from gateway.config.assembly.grants import Sets, make_policy
from gateway.config.reading.document import Document
from gateway.config.reading.problem import Problem, shown
from gateway.config.reading.section import read
from gateway.config.reading.source import parse, read_file
from gateway.config.schema import policy as schema
from gateway.core.catalog import Catalog
from gateway.core.policy import Policy


class PolicyFile(msgspec.Struct, frozen=True):
    """A policy, what its caller is identified by, and the file it stands in."""

    path: str
    policy: Policy
    authenticate: Authenticated

    @property
    def file(self) -> Path:
        """Where the policy stands."""
        return Path(self.path)

    @property
    def cases(self) -> Path:
        """Where the truth table of this policy is, if it has one."""
        return self.file.with_name(f"{self.file.name.removesuffix('.yaml')}.cases.yaml")


class Policies(msgspec.Struct, frozen=True):
    """The policies of a folder that have no problem, and some facts about all of its files.

    ``callers`` is None where some file's caller could not be read. ``anonymous`` is the anonymous caller.
    ``broken`` are the paths of files whose policy cannot be used.
    """

    files: tuple[PolicyFile, ...]
    callers: frozenset[str] | None
    anonymous: str | None
    broken: frozenset[str]


def read_policies(folder: Path, catalog: Catalog) -> tuple[tuple[PolicyFile, ...], list[Problem]]:
    """The policies of a folder and everything that is wrong with them. A policy with a problem is left out."""
    problems: list[Problem] = []
    return read_folder(folder, catalog, problems).files, problems


class PolicyCache:
    """The policies that were sound when a folder was last read, so that only what has changed since is parsed anew.

    ``paths`` are the files and folders that the configuration named when it could be parsed last.
    """

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._basis: object = None
        self._files: dict[str, tuple[bytes, PolicyFile]] = {}

    def of(self, basis: object) -> dict[str, tuple[bytes, PolicyFile]]:
        """Each file's digest and its policy, where they were read on the same basis: catalog and `Available`."""
        return self._files if basis == self._basis else {}

    def become(self, basis: object, files: dict[str, tuple[bytes, PolicyFile]]) -> None:
        self._basis, self._files = basis, files


def read_folder(
    folder: Path,
    catalog: Catalog,
    problems: list[Problem],
    verifying: Available | None = None,
    cache: PolicyCache | None = None,
) -> Policies:
    """As `read_policies`, with the names of all callers; adds what is wrong to ``problems``."""
    basis = (catalog.endpoints, catalog.scopes, verifying)
    before = {} if cache is None else cache.of(basis)
    now: dict[str, tuple[bytes, PolicyFile]] = {}
    gathered = _Gathered(catalog, verifying)
    for path in _policy_paths(folder, problems):
        name, data = str(path), _read(path, problems)
        digest = hashlib.blake2b(data or b"", digest_size=16).digest()
        known = before.get(name)
        if known is not None and known[0] == digest and gathered.add_again(known[1]):
            now[name] = known
        elif (file := gathered.add(parse(name, data, problems))) is not None:
            now[name] = digest, file
    if cache is not None:
        cache.become(basis, now)
    return gathered.policies()


def _read(path: Path, problems: list[Problem]) -> bytes | None:
    """As `read_file`, but refuses a pipe, which may have no end."""
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(path.stat().st_mode):
            problems.append(Problem(str(path), 0, "", "cannot be read: it is a pipe"))
            return None
    return read_file(path, problems)


def check_policy(document: Document, catalog: Catalog, verifying: Available | None = None) -> Policies:
    """The one policy of a document; none if it has a problem, which is then reported.

    ``verifying`` is what a ``gateway.yaml`` has to verify callers with, where there is one.
    """
    gathered = _Gathered(catalog, verifying)
    gathered.add(document)
    return gathered.policies()


class _Gathered:
    """Policies taken one after the other, each checked by itself and against those before it."""

    def __init__(self, catalog: Catalog, verifying: Available | None) -> None:
        self._catalog: Final = catalog
        self._verifying: Final = verifying
        self._files: Final[list[PolicyFile]] = []
        self._callers: Final[dict[str, str]] = {}
        self._claims: Final[Claims] = {}
        self._sets: Final[Sets] = {}
        self._broken: Final[set[str]] = set()
        self._unknown = False

    def add(self, document: Document) -> PolicyFile | None:
        """Add the policy of a document; None if it has a problem, which is then reported."""
        entry = read(schema.Policy, document)
        if entry is None:
            self._unknown = True
            self._broken.add(document.file)
            return None
        if (other := self._callers.setdefault(entry.caller, document.file)) != document.file:
            document.report(("caller",), f"{shown(entry.caller)} has a policy already, in {other}")
        file = PolicyFile(document.file, make_policy(entry, document, self._catalog, self._sets), entries_of(entry))
        check_authenticate(entry, document, self._claims, self._verifying)
        if not document.sound(()):
            self._broken.add(document.file)
            return None
        self._files.append(file)
        return file

    def add_again(self, file: PolicyFile) -> bool:
        """Add a policy that was sound by itself; False, and nothing done, if it conflicts with one before it."""
        caller, claims = file.policy.caller, claims_of(file.authenticate)
        if caller in self._callers or not self._claims.keys().isdisjoint(claims):
            return False
        self._callers[caller] = file.path
        self._claims.update(dict.fromkeys(claims, caller))
        self._files.append(file)
        return True

    def policies(self) -> Policies:
        callers = None if self._unknown else frozenset(self._callers)
        return Policies(tuple(self._files), callers, self._claims.get(ANONYMOUS), frozenset(self._broken))


def _policy_paths(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """The policy files of a folder, in order of name. Hidden files belong to a Kubernetes volume itself."""
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
        problems.append(Problem(str(folder), 0, "", "holds no policy; the gateway would refuse every caller"))
