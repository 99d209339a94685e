"""Gets an issuer's keys: from a file, or by OpenID Connect Discovery 1.0 over verified HTTPS."""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from gateway.callers.issuer_settings import MAX_JWKS, IssuerSettings
from gateway.callers.signatures import NoKeys
from gateway.net.client_tls import issuer_context
from gateway.net.faults import PEER_ERRORS, why
from gateway.net.one_question import FIELDS, session_options

# For both documents together, in seconds. Callers whose key is unknown wait for it.
TIMEOUT: Final = 5.0
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
# RFC 6750 section 2.1: what may stand after "Bearer ".
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_LONGEST_SHOWN: Final = 200
_MOUNT: Final = "set `serviceAccount.mountToken: true` in the chart, or `automountServiceAccountToken: true` in the pod"


def source_of(issuer: IssuerSettings, resolver: AbstractResolver | None = None) -> Callable[[], Awaitable[bytes]]:
    """A function that gets the issuer's JWKS document, or raises `NoKeys`. ``resolver`` None is aiohttp's own."""

    async def from_file(path: Path) -> bytes:
        try:
            return await asyncio.to_thread(_read, path)
        except OSError as error:
            raise NoKeys(f"{path} cannot be read: {error.strerror}") from None

    jwks = issuer.jwks
    return (lambda: from_file(jwks)) if jwks is not None else _Discovery(issuer, resolver).fetch


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_JWKS)


class _Discovery:
    """Discovery section 4: the configuration names the key set, and must be that of the very issuer that was asked."""

    def __init__(self, issuer: IssuerSettings, resolver: AbstractResolver | None) -> None:
        self._issuer: Final = issuer
        self._resolver: Final = resolver

    async def fetch(self) -> bytes:
        """The JWKS document. Raises `NoKeys` with a text that begins with the address."""
        place = self._issuer.issuer.rstrip("/") + _WELL_KNOWN
        context, headers = await self._credentials()
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                aiohttp.ClientSession(headers=headers, **session_options(context, self._resolver, TIMEOUT)) as session,
            ):
                keys_at = self._keys_at(place, await self._get(session, place))
                place = keys_at
                return await self._get(session, keys_at)
        except PEER_ERRORS as error:
            raise NoKeys(f"{_shown(place)}: {why(error)}") from None
        except ValueError:
            raise NoKeys(f"{_shown(place)}: its address cannot be used") from None

    async def _credentials(self) -> tuple[ssl.SSLContext, dict[str, str]]:
        """TLS and header fields, read anew each time, since Kubernetes rotates both the CA and the token."""
        try:
            return await asyncio.to_thread(_credentials, self._issuer)
        except FileNotFoundError:
            hint = ""
            if self._issuer.token is not None and self._issuer.token.parent in (self._issuer.ca or Path()).parents:
                hint = f"; {_MOUNT}, or set `callers.kubernetes.ca`"
            raise NoKeys(f"{self._issuer.issuer}: the file of its CA, {self._issuer.ca}, is missing{hint}") from None
        except OSError:
            raise NoKeys(f"{self._issuer.issuer}: the file of its CA or of the token cannot be read") from None

    def _keys_at(self, place: str, data: bytes) -> str:
        """The address of the key set, from the issuer's configuration."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise NoKeys(f"{place}: the issuer's configuration is not a JSON object")
        named, keys_at = document.get("issuer"), document.get("jwks_uri")
        if named != self._issuer.issuer:
            found = f"`{_shown(named)}`" if isinstance(named, str) else "nothing"
            raise NoKeys(f"{place}: the issuer calls itself {found}, and the configuration `{self._issuer.issuer}`")
        if not isinstance(keys_at, str) or not keys_at.startswith("https://"):
            raise NoKeys(f"{place}: the issuer names no https:// address of its keys")
        return keys_at

    async def _get(self, session: aiohttp.ClientSession, place: str) -> bytes:
        async with session.get(URL(place), allow_redirects=False) as response:
            if response.status != 200:
                raise NoKeys(f"{_shown(place)} answers with status {response.status}{self._cure(response.status)}")
            data = await response.content.read(MAX_JWKS + 1)
            while not response.content.at_eof() and len(data) <= MAX_JWKS:
                data += await response.content.read(MAX_JWKS + 1 - len(data))
            if len(data) > MAX_JWKS:
                raise NoKeys(f"{_shown(place)}: the answer is too long")
            return data

    def _cure(self, status: int) -> str:
        """What to do if the issuer asks for a credential, as API servers do (KEP-1393)."""
        if status not in (401, 403):
            return ""
        if self._issuer.token is None:
            return "; it wants a credential, and the gateway has none for it: give its keys as a file, by `jwks`"
        if not self._issuer.token.exists():
            return f"; the gateway has no token of its own to show: {_MOUNT}"
        return "; bind the ClusterRole `system:service-account-issuer-discovery` to the gateway's service account"


def _credentials(issuer: IssuerSettings) -> tuple[ssl.SSLContext, dict[str, str]]:
    """An API server shows its keys to service accounts only, unless anonymous requests are allowed."""
    headers = {"Accept": "application/json, application/jwk-set+json", **dict(FIELDS)}
    if issuer.token is not None and issuer.token.exists():
        token = issuer.token.read_text("latin-1").strip()
        if _TOKEN.fullmatch(token):
            headers["Authorization"] = f"Bearer {token}"
    return issuer_context(issuer.ca), headers


def _shown(text: str) -> str:
    """A text of the issuer, fit for a log line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_SHOWN])
