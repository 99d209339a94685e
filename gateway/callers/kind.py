"""What a kind of credential is: one row of `gateway.callers.kinds`."""

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from gateway.callers.certificate import Certificate
from gateway.config.reading.document import Document
from gateway.config.reading.kinds import Kind as ValueKind

if TYPE_CHECKING:
    from gateway.callers.keyset import KeySet


class Credentials(NamedTuple):
    """The credentials of one request and its connection. ``digest`` is the SHA-256 of ``token``; both may be empty.

    ``now`` is Unix time in seconds.
    """

    token: str
    digest: bytes
    certificate: Certificate | None
    uid: int | None
    now: float


class Rejected(NamedTuple):
    """A credential of one kind identifies no caller. ``why`` is a sentence for the caller and the log.

    ``why`` repeats nothing that was not verified. ``expired``: the credential was good, so a new one helps.
    ``unavailable``: the issuer's keys could not be fetched, so the same credential may be good later.
    """

    why: str
    expired: bool = False
    unavailable: bool = False


class Waiting(NamedTuple):
    """The answer needs a key that ``keys`` has to ask its issuer for."""

    keys: "KeySet"


# A caller's name, or why there is none; None if the request has no credential of this kind.
Outcome: TypeAlias = str | Rejected | Waiting | None
Verify: TypeAlias = Callable[[Credentials], Outcome]
# The entries of all policies for one kind, each with the caller that it identifies.
Entries: TypeAlias = Mapping[Any, str]
# The keys of each issuer of signed tokens, by its URL.
KeySets: TypeAlias = "Mapping[str, KeySet]"


class Reading(NamedTuple):
    """A ``gateway.yaml`` while it is checked. ``client_ca`` says whether it has ``tls.client_ca``.

    ``look`` is False where no other file may be opened.
    """

    document: Document
    look: bool
    client_ca: bool


class Available(msgspec.Struct, frozen=True):
    """What a ``gateway.yaml`` gives to verify credentials with: by kind the value of its setting, and the listener."""

    settings: Mapping[str, Any] = msgspec.field(default_factory=dict)
    unix_socket: bool = False


class SettingOf(NamedTuple):
    """The key below ``callers`` in ``gateway.yaml`` that a kind needs.

    ``check`` makes of its value what the kind is verified with, and reports what is wrong.
    """

    name: str
    value: ValueKind[Any]
    description: str
    check: Callable[[Any, Reading], Any]


def _itself(value: Any) -> Any:
    return value


class CredentialKind(NamedTuple):
    """One kind of credential.

    ``name`` is the key in a policy's ``authenticate``, ``value`` what may stand there, with its ``description``.
    ``noun`` is one of the values in words. ``advice`` says what a request has to send. ``challenge`` is the scheme that
    ``WWW-Authenticate`` names.

    ``verifier`` makes, of the entries of all policies, of what the setting says and of the issuers' keys, the function
    that a request is verified by. ``missing`` says what the configuration lacks to verify any value of this kind, and
    ``fault`` why one entry identifies nobody. ``entry`` makes of one value what requests are compared with; ``written``
    is an entry as a policy has it, ``brief`` the same for people. ``overlap`` says whether one credential could be
    both of two entries; without it, entries that differ never meet.
    """

    name: str
    value: ValueKind[Any]
    description: str
    noun: str
    advice: str
    challenge: str
    verifier: Callable[[Entries, Any, KeySets], Verify]
    missing: Callable[[Available], str] = lambda _available: ""
    fault: Callable[[Any, Available], str] = lambda _entry, _available: ""
    entry: Callable[[Any], Hashable] = _itself
    written: Callable[[Any], Any] = _itself
    brief: Callable[[Any], str] = str
    overlap: Callable[[Any, Any], bool] | None = None
    setting: SettingOf | None = None

    def entries(self, value: Any) -> tuple[Any, ...]:
        """The entries of a policy's value, which is a list, or true or false."""
        return tuple(map(self.entry, value)) if isinstance(value, tuple) else (True,) if value else ()
