"""Checks how callers are identified, in ``gateway.yaml`` and the policies together, by the rows of `KINDS`."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from gateway.callers.callers import Callers
from gateway.callers.kind import Available, Reading
from gateway.callers.kinds import KINDS, settings
from gateway.config.reading.document import Document
from gateway.config.reading.problem import Steps, shown
from gateway.config.schema import policy
from gateway.config.schema.gateway import Gateway

# Each credential, a kind with one of its entries, and the caller whose it is. No two callers share one.
Claims: TypeAlias = dict[tuple[str, Hashable], str]
# The claim of the anonymous caller.
ANONYMOUS: Final = ("anonymous", True)
# A caller's credentials, by kind.
Authenticated: TypeAlias = Mapping[str, tuple[Hashable, ...]]


def entries_of(entry: policy.Policy) -> Authenticated:
    """What a policy's caller is identified by; a kind without entries is left out."""
    found = {name: kind.entries(getattr(entry.authenticate, name)) for name, kind in KINDS.items()}
    return {name: entries for name, entries in found.items() if entries}


def claims_of(authenticated: Authenticated) -> Iterable[tuple[str, Hashable]]:
    """The credentials that no other caller may have."""
    return [(name, entry) for name, entries in authenticated.items() for entry in entries]


def check_authenticate(entry: policy.Policy, document: Document, claims: Claims, available: Available | None) -> None:
    """Report credentials that belong to another caller, or that cannot be verified.

    ``claims`` are those of the policies before this one; its own are added. ``available`` is None if there is no
    ``gateway.yaml``.
    """
    authenticated = entries_of(entry)
    if not authenticated and document.sound(("authenticate",)):
        document.report(
            ("authenticate",),
            "nobody can be this caller; add `tokens: [sha256:…]`, made by `productlane-gateway token`, "
            "or `anonymous: true`",
        )
    for name, entries in authenticated.items():
        kind, here = KINDS[name], ("authenticate", name)
        missing = "" if available is None else kind.missing(available)
        if missing:
            document.report(here, missing)
        for path, value in _places(document, here, getattr(entry.authenticate, name), entries):
            if (other := claims.setdefault((name, value), entry.caller)) != entry.caller:
                document.report(path, f"is {kind.noun} of caller {shown(other)} too")
            if not missing and (message := kind.fault(value, available or Available())):
                document.report(path, message)


def _places(
    document: Document, here: tuple[str, str], value: Any, entries: tuple[Hashable, ...]
) -> Iterator[tuple[Steps, Hashable]]:
    """Each entry with its place: the item of a list, or the key itself."""
    if isinstance(value, tuple):
        yield from document.items(entries, *here)
    else:
        yield from ((here, entry) for entry in entries)


def check_settings(file: Gateway, document: Document, *, look: bool) -> dict[str, Any]:
    """What each kind is verified with, from the section ``callers``. Reports what is wrong.

    Unless ``look``, no file is opened.
    """
    # A fault of `tls` is reported alone.
    client_ca = not document.sound(("tls",)) or (file.tls is not None and file.tls.client_ca is not None)
    reading = Reading(document, look, client_ca)
    found = {
        name: one.check(value, reading)
        for name, one in settings()
        if (value := getattr(file.callers, one.name)) is not None
    }
    urls: dict[str, str] = {}
    for issuer in Callers({}, found).issuers:
        # A token names its issuer, and so has to lead to one of them.
        if urls.setdefault(issuer.issuer, issuer.name) != issuer.name:
            document.report(("callers",), f"{urls[issuer.issuer]} and {issuer.name} have the same issuer")
    return found


def available(file: Gateway, document: Document, found: Mapping[str, Any]) -> Available | None:
    """What the policies' credentials can be verified with; None if a fault in the settings leaves it open."""
    if not all(document.sound((part,)) for part in ("callers", "listen", "tls")):
        return None
    return Available(found, unix_socket=file.listen.path is not None)


def callers_of(authenticated: Iterable[tuple[str, Authenticated]], found: Mapping[str, Any]) -> Callers:
    """The callers of all policies: each caller's name with its credentials."""
    by_kind: dict[str, dict[Hashable, str]] = {}
    for caller, credentials in authenticated:
        for name, entries in credentials.items():
            by_kind.setdefault(name, {}).update(dict.fromkeys(entries, caller))
    return Callers(by_kind, found)
