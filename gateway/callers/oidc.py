"""Tokens of OpenID Connect issuers: CI systems such as GitHub Actions and GitLab, or a company's own."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.callers.issuer_settings import IssuerSection, IssuerSettings, check_issuer
from gateway.callers.kind import Available, CredentialKind, Entries, KeySets, Reading, Rejected, SettingOf, Verify
from gateway.callers.patterns import overlap, test_of
from gateway.config.reading.collections import Many, Named
from gateway.config.reading.kinds import Text
from gateway.config.reading.names import NAME
from gateway.config.reading.section import Record, Section, setting

# `*` stands for any text without a colon: subjects are made of parts with colons between them, and a pattern for one
# part must not reach into the next. Longer texts are no subjects: GitHub's have at most 300 characters.
_PATTERN: Final = Text(
    "a text of at most 512 characters, in which `*` is any text without `:`", r"^.{1,512}$", parse=str
)
_CLAIM: Final = Text("the name of a claim", r"^[A-Za-z0-9_.:/-]{1,128}$", parse=str)
_LONGEST_SHOWN: Final = 300

Matches: TypeAlias = Callable[[Mapping[str, Any]], bool]


class OidcIssuer(IssuerSection):
    """An OpenID Connect issuer whose tokens are accepted."""


class OidcSubject(Section):
    """Whose tokens of an issuer identify this caller. All that is given has to match."""

    issuer: str = setting(NAME, "The issuer, as `callers.oidc` names it.")
    subject: str | None = setting(_PATTERN, "Pattern of the `sub` claim; `*` is any text without `:`.", default=None)
    claims: dict[str, str] | None = setting(
        Named(_CLAIM, _PATTERN), "Patterns of other claims, by name; `*` is any text without `:`.", default=None
    )


class Subject(NamedTuple):
    """An entry of a policy: an issuer's name, and the patterns of claims, by name, that a token has to match."""

    issuer: str
    patterns: tuple[tuple[str, str], ...]


def _entry(value: OidcSubject) -> Subject:
    patterns = {**(value.claims or {}), **({} if value.subject is None else {"sub": value.subject})}
    return Subject(value.issuer, tuple(sorted(patterns.items())))


def _written(entry: Subject) -> dict[str, Any]:
    claims = dict(entry.patterns)
    subject = claims.pop("sub", None)
    found: dict[str, Any] = {"issuer": entry.issuer}
    found |= {} if subject is None else {"subject": subject}
    return found | ({"claims": claims} if claims else {})


def _brief(entry: Subject) -> str:
    return f"{entry.issuer}: {', '.join(f'{name}={pattern}' for name, pattern in entry.patterns)}"


def _check(sections: Mapping[str, OidcIssuer], reading: Reading) -> tuple[IssuerSettings, ...]:
    if "kubernetes" in sections:
        reading.document.report(("callers", "oidc", "kubernetes"), "is the name of `callers.kubernetes`; take another")
    return tuple(check_issuer(name, one, ("callers", "oidc", name), reading) for name, one in sections.items())


def _missing(available: Available) -> str:
    return "" if "oidc" in available.settings else "proves nobody while gateway.yaml has no `callers.oidc`"


def _fault(entry: Subject, available: Available) -> str:
    if not any(pattern.strip("*") for _, pattern in entry.patterns):
        return f"any token of `{entry.issuer}` would be this caller's; give `subject` or `claims`, and not only `*`"
    names = [issuer.name for issuer in available.settings.get("oidc", ())]
    if names and entry.issuer not in names:
        return f"there is no issuer `{entry.issuer}` in `callers.oidc`; there are {', '.join(names)}"
    return ""


def _verifier(entries: Entries, issuers: tuple[IssuerSettings, ...] | None, keys: KeySets) -> Verify:
    # PyJWT and cryptography: 50 ms and 9 MB that only signed tokens need.
    from gateway.callers.signed_tokens import SignedTokens

    subjects: dict[str, list[tuple[Matches, str]]] = {}
    for entry, caller in entries.items():
        subjects.setdefault(entry.issuer, []).append((matcher(entry), caller))

    def caller_of(issuer: IssuerSettings, claims: Mapping[str, Any]) -> str | Rejected:
        found = sorted({caller for matches, caller in subjects.get(issuer.name, ()) if matches(claims)})
        if len(found) == 1:
            return found[0]
        subject = _shown(claims.get("sub"))
        if found:
            # Which of them would be a matter of order.
            return Rejected(f"is valid, but its subject {subject} is in the policies of {' and '.join(found)}")
        return Rejected(f"is valid, but no policy lists its subject {subject} of the issuer {issuer.name}")

    return SignedTokens("the OIDC token", issuers or (), keys, caller_of).verify


def matcher(entry: Subject) -> Matches:
    """Whether claims match all patterns of an entry. A list matches where one of its items does."""
    tests = [(name, test_of(pattern)) for name, pattern in entry.patterns]

    def matches(claims: Mapping[str, Any]) -> bool:
        return all(any(map(test, _texts(claims.get(name)))) for name, test in tests)

    return matches


def _overlap(one: Subject, other: Subject) -> bool:
    """Whether one token could match both: of one issuer, and each claim that both name can have one value."""
    theirs = dict(other.patterns)
    return one.issuer == other.issuer and all(
        overlap(pattern, theirs[name]) for name, pattern in one.patterns if name in theirs
    )


def _texts(value: object) -> list[str]:
    """The values of a claim as a pattern sees them; numbers and truth values as JSON writes them."""
    if isinstance(value, list):
        return [text for item in value if not isinstance(item, list) for text in _texts(item)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value)] if isinstance(value, str | int) else []


def _shown(subject: object) -> str:
    """A verified subject, as a header and a log line may carry it."""
    text = subject if isinstance(subject, str) else "(none)"
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_SHOWN])


KIND: Final = CredentialKind(
    name="oidc",
    value=Many(Record(OidcSubject), "issuers with a subject or claims"),
    description="Tokens of OpenID Connect issuers, by subject or claims; needs `callers.oidc` in gateway.yaml.",
    noun="a subject",
    advice="a token of an issuer in `callers.oidc`, as `Authorization: Bearer <token>`",
    challenge="Bearer",
    verifier=_verifier,
    missing=_missing,
    fault=_fault,
    entry=_entry,
    written=_written,
    brief=_brief,
    overlap=_overlap,
    setting=SettingOf(
        "oidc",
        Named(NAME, Record(OidcIssuer)),
        "OpenID Connect issuers by name: CI systems such as GitHub Actions and GitLab, or a company's own.",
        _check,
    ),
)
