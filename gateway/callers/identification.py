"""Which caller a request is: the first kind of credential that identifies one decides, in the order of `KINDS`.

A credential that fails does not spoil a later one that holds. Where none holds, a request that showed a credential is
refused once any policy authenticates; a request that showed none is the anonymous caller's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.callers.callers import Callers
from gateway.callers.kind import Credentials, KeySets, Rejected, Verify, Waiting
from gateway.callers.kinds import KINDS
from gateway.callers.peers import STRANGER, Peer
from gateway.callers.refusals import key_of_v1, unidentified
from gateway.callers.same_site import check_same_site
from gateway.callers.token_text import FORM
from gateway.callers.tokens import digest
from gateway.core.refusal import Code, Reason, Refused

# RFC 9110 section 11.1: the scheme is case-insensitive. RFC 6750 section 2.1: one space and a b64token.
_BEARER: Final = re.compile(rf"[Bb][Ee][Aa][Rr][Ee][Rr] ({FORM})")
_NO_KEYS: Final[KeySets] = {}


class Identification:
    """Identifies the callers of one configuration. ``keys`` are those of its issuers, by URL.

    ``loopback`` tells that the traffic listener is a loopback one: see `check_site`. ``mark`` is this object's own.
    """

    def __init__(self, callers: Callers, keys: KeySets = _NO_KEYS, *, loopback: bool = False) -> None:
        self.mark: Final = object()
        self._callers: Final = callers
        self._hosts: Final = callers.settings.get("anonymous", frozenset()) if loopback else None
        self.anonymous: Final = callers.anonymous
        self._authenticated: Final = callers.authenticated
        # Without SPIFFE, which comes before tokens, one look-up answers most requests.
        self._first_tokens: Final = {} if callers.by_kind.get("spiffe") else callers.by_kind.get("tokens", {})
        self._verify: Final[tuple[Verify, ...]] = tuple(
            kind.verifier(callers.by_kind[name], callers.settings.get(name), keys)
            for name, kind in KINDS.items()
            if callers.by_kind.get(name) and kind is not KINDS["anonymous"]
        )

    def identify_now(self, authorization: Sequence[str], peer: Peer = STRANGER, *, now: float) -> str | None:
        """The caller of a request with these ``Authorization`` values on a connection from this peer.

        ``now`` is Unix time in seconds. None if the answer has to wait for an issuer's keys: call `identify`.
        Raises `Refused`: ``unauthenticated`` where nothing identifies a caller and none is anonymous;
        ``invalid_request`` for several values; ``unsupported_key_version`` for a v1 key; ``issuer_unavailable``.
        """
        caller = self.by_token(authorization)
        if caller is not None:
            return caller
        found = self._first(self._read(authorization, peer, now), authorization)
        return found if isinstance(found, str) else None

    def by_token(self, authorization: Sequence[str]) -> str | None:
        """The caller whose own token this is; None for any other. The same at any time and on any connection."""
        if len(authorization) == 1 and (value := authorization[0]).startswith("Bearer ") and value.isascii():
            return self._first_tokens.get(digest(value[7:]))
        return None

    async def identify(self, authorization: Sequence[str], peer: Peer = STRANGER, *, now: float) -> str:
        """As `identify_now`, but waits for an issuer's keys if necessary."""
        shown = self._read(authorization, peer, now)
        # A token names one issuer, and asking it twice is refused: at most one wait for each kind of signed token.
        for _ in range(len(self._verify) + 1):
            found = self._first(shown, authorization)
            if isinstance(found, str):
                return found
            await found.keys.ask()
        raise unidentified(self._callers, authorization, shown, [])

    def check_site(self, read: Mapping[bytes, Sequence[bytes]]) -> None:
        """Refuse an anonymous request from a web page of another site. Raises `Refused`."""
        check_same_site(read, self._hosts)

    def _first(self, shown: Credentials, authorization: Sequence[str]) -> str | Waiting:
        rejected: list[Rejected] = []
        for verify in self._verify:
            outcome = verify(shown)
            if isinstance(outcome, str):
                return outcome
            if isinstance(outcome, Waiting):
                return outcome
            if outcome is not None:
                rejected.append(outcome)
        seen = bool(authorization) or shown.certificate is not None
        if self.anonymous is not None and not (seen and self._authenticated):
            return self.anonymous
        raise unidentified(self._callers, authorization, shown, rejected)

    def _read(self, authorization: Sequence[str], peer: Peer, now: float) -> Credentials:
        """The credentials of a request. Raises `Refused` for several values, and for keys of version 1."""
        if not authorization:
            return Credentials("", b"", peer.certificate, peer.uid, now)
        if len(authorization) > 1:
            raise Refused(
                Code.INVALID_REQUEST,
                Reason.CREDENTIAL_AMBIGUOUS,
                "The request carries more than one Authorization field.",
            )
        bearer = _BEARER.fullmatch(authorization[0])
        if bearer is None:
            return Credentials("", b"", peer.certificate, peer.uid, now)
        token = bearer[1]
        if token.startswith("pl_v1_"):
            raise key_of_v1(self._callers)
        return Credentials(token, digest(token), peer.certificate, peer.uid, now)
