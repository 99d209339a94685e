"""Where an issuer's keys come from: a file, or OpenID Connect Discovery 1.0 over verified HTTPS."""

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

from gateway.callers.signatures import NoKeys
from gateway.config.assembly.snapshot import Issuer
from gateway.config.proving import MAX_JWKS
from gateway.config.tls import issuer_context
from gateway.net.faults import PEER_ERRORS, why

# For both documents together. Callers whose key is unknown wait for it.
TIMEOUT: Final = 5.0
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
# RFC 6750 section 2.1: what may stand after "Bearer ".
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def source_of(issuer: Issuer, resolver: AbstractResolver | None = None) -> Callable[[], Awaitable[bytes]]:
    """What gets the issuer's JWKS document. It raises `NoKeys`. ``resolver`` is aiohttp's own where it is None."""

    async def from_file(path: Path) -> bytes:
        try:
            return await asyncio.to_thread(_read, path)
        except OSError as error:
            raise NoKeys(f"the file of the keys cannot be read: {error.strerror}") from None

    async def from_issuer() -> bytes:
        try:
            return await _discover(issuer, resolver)
        except PEER_ERRORS as error:
            raise NoKeys(f"the issuer cannot be asked: {why(error)}") from None
        except ValueError:
            raise NoKeys("the issuer cannot be asked: its address cannot be used") from None

    jwks = issuer.jwks
    return from_issuer if jwks is None else lambda: from_file(jwks)


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_JWKS)


async def _discover(issuer: Issuer, resolver: AbstractResolver | None) -> bytes:
    """Discovery section 4: the configuration names the key set, and must be of the very issuer that was asked."""
    try:
        context, headers = await asyncio.to_thread(_means, issuer)
    except OSError:
        raise NoKeys("the file of the issuer's CA or of the token cannot be read") from None
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, force_close=True, resolver=resolver, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        async with asyncio.timeout(TIMEOUT):
            document = _document(await _get(session, issuer.issuer.rstrip("/") + _WELL_KNOWN))
            if document.get("issuer") != issuer.issuer:
                raise NoKeys("the issuer calls itself otherwise than `callers.kubernetes.issuer` does")
            place = document.get("jwks_uri")
            if not isinstance(place, str) or not place.startswith("https://"):
                raise NoKeys("the issuer names no https:// address of its keys")
            return await _get(session, place)


def _means(issuer: Issuer) -> tuple[ssl.SSLContext, dict[str, str]]:
    """Read anew each time, since Kubernetes rotates both the CA and the token.

    An API server shows its keys to service accounts alone, unless anonymous requests are allowed.
    """
    headers = {
        "Accept": "application/json, application/jwk-set+json",
        "Accept-Encoding": "identity",
        "User-Agent": "productlane-gateway",
    }
    if issuer.token is not None and issuer.token.exists():
        token = issuer.token.read_text("latin-1").strip()
        if _TOKEN.fullmatch(token):
            headers["Authorization"] = f"Bearer {token}"
    return issuer_context(issuer.ca), headers


async def _get(session: aiohttp.ClientSession, place: str) -> bytes:
    async with session.get(URL(place), allow_redirects=False) as response:
        if response.status != 200:
            raise NoKeys(f"the issuer answers with status {response.status}")
        data = await response.content.read(MAX_JWKS + 1)
        while not response.content.at_eof() and len(data) <= MAX_JWKS:
            data += await response.content.read(MAX_JWKS + 1 - len(data))
        if len(data) > MAX_JWKS:
            raise NoKeys("the issuer's answer is too long")
        return data


def _document(data: bytes) -> dict[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NoKeys("the issuer's configuration is not a JSON object")
    return document
