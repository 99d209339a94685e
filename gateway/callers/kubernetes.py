"""Tokens of Kubernetes service accounts, verified without asking the API server about each."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp.abc import AbstractResolver

from gateway.callers import signatures
from gateway.callers.issuer import source_of
from gateway.callers.keyset import KeySet
from gateway.callers.proof import Unproven
from gateway.config.assembly.snapshot import Issuer
from gateway.config.schema.kinds import ACCOUNT, NAMESPACE

# How far the clocks of the issuer and of this process may be apart.
LEEWAY: Final = 30.0
# Digests of tokens that were found good; at 200 bytes each it stays under a megabyte.
_MOST_PROVEN: Final = 4096
# The keys' ages at which they are asked for again: an issuer is another machine, a file is at hand.
_AGE_DISCOVERED: Final = 300.0
_AGE_FILE: Final = 10.0
_SUBJECT: Final = re.compile(rf"system:serviceaccount:({NAMESPACE}):({ACCOUNT})")


class ServiceAccounts:
    """Which service account a token proves.

    ``clock`` is Unix time in seconds, ``monotonic`` counts seconds. ``on_fault`` is told why the keys cannot be had;
    ``resolver`` finds the issuer.
    """

    def __init__(
        self,
        issuer: Issuer,
        *,
        fetch: Callable[[], Awaitable[bytes]] | None = None,
        resolver: AbstractResolver | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_fault: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._issuer: Final = issuer
        self._clock: Final = clock
        self._proven: Final[dict[bytes, tuple[str, float]]] = {}
        self._keys: Final = KeySet(
            fetch or source_of(issuer, resolver),
            max_age=_AGE_FILE if issuer.jwks is not None else _AGE_DISCOVERED,
            clock=monotonic,
            on_change=self._proven.clear,
            on_fault=on_fault,
        )

    def prefetch(self) -> None:
        """Ask for the keys before the first caller needs them. Needs the running loop."""
        self._keys.refresh_in_time()

    def known(self, digest: bytes) -> str | None:
        """The account, ``namespace/name``, of a token that has been found good and still is; by its SHA-256."""
        self._keys.refresh_in_time()
        account, until = self._proven.get(digest, (None, 0.0))
        if account is not None and self._clock() >= until:
            del self._proven[digest]
            return None
        return account

    async def prove(self, token: str, digest: bytes) -> str:
        """The account that a token proves. Raises `Unproven`."""
        kid = signatures.key_id(token)
        key = await self._keys.get(kid)
        if key is None:
            raise Unproven(
                "the issuer's keys cannot be had" if self._keys.empty else "its issuer has no such key as it names"
            )
        account, until = account_of(signatures.verified(token, key), self._issuer, self._clock())
        if len(self._proven) >= _MOST_PROVEN:
            del self._proven[next(iter(self._proven))]
        self._proven[digest] = (account, until)
        return account

    async def close(self) -> None:
        await self._keys.close()


def account_of(claims: Mapping[str, Any], issuer: Issuer, now: float) -> tuple[str, float]:
    """The account that verified claims are of, and the Unix time until which they prove it. Raises `Unproven`.

    RFC 7519 section 4.1; the subject's form and the ``kubernetes.io`` claim are those of the TokenRequest API.
    """
    if claims.get("iss") != issuer.issuer:
        raise Unproven("its issuer is not the one in `callers.kubernetes.issuer`")
    audiences = claims.get("aud")
    if issuer.audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise Unproven(f"its audience is not `{issuer.audience}`")
    until = _time(claims, "exp") + LEEWAY
    if now >= until:
        raise Unproven("it has expired", expired=True)
    if "nbf" in claims and now < _time(claims, "nbf") - LEEWAY:
        raise Unproven("it is not valid yet")
    subject = claims.get("sub")
    found = _SUBJECT.fullmatch(subject) if isinstance(subject, str) else None
    if found is None:
        raise Unproven("its subject is not a service account")
    namespace, name = found.groups()
    if "kubernetes.io" in claims and not _agrees(claims["kubernetes.io"], namespace, name):
        raise Unproven("its subject and its `kubernetes.io` claim differ")
    return f"{namespace}/{name}", until


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise Unproven(f"it has no `{name}` that is a time")
    return float(value)


def _agrees(claim: object, namespace: str, name: str) -> bool:
    account = claim.get("serviceaccount") if isinstance(claim, dict) else None
    if not isinstance(claim, dict) or not isinstance(account, dict):
        return False
    return bool(claim.get("namespace") == namespace and account.get("name") == name)
