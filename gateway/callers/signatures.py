"""Verifies signatures of tokens with an issuer's keys. PyJWT does the cryptography; this module restricts it.

Imported where issuers are configured, and not otherwise: 30 to 50 ms and 9 MB.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

# What issuers sign with, by kind of key: Kubernetes with RS256 or ES256, GitHub and GitLab with RS256. A token's header
# never chooses: each key has its one algorithm. So neither `none` nor an HMAC keyed with a public key can pass
# (RFC 8725 section 3.1).
ALGORITHMS: Final[Mapping[tuple[str, str], str]] = {
    ("RSA", ""): "RS256",
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
}
_LEAST_RSA_BITS: Final = 2048
# Members that only private and symmetric keys have (RFC 7518 section 6).
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MOST_KEYS: Final = 64
_JWS: Final = jwt.PyJWS(algorithms=[*ALGORITHMS.values()])


class NoKeys(Exception):
    """The issuer's keys cannot be fetched. The text says why."""


class BadToken(Exception):
    """A token is not what a key of the issuer signed. The text says why, and repeats nothing of the token."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and the one algorithm that it verifies. ``source`` is its JWK; keys differ if their JWKs do."""

    jwk: jwt.PyJWK
    algorithm: str
    source: str


def read_keys(data: bytes) -> Mapping[str, VerifyingKey]:
    """The usable keys of a JWKS document (RFC 7517 section 5) by ``kid``.

    Ignores keys that are private, symmetric, weak, for encryption, of another algorithm, or without a ``kid`` of their
    own. Raises `NoKeys` if none is left.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise NoKeys("the key set is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise NoKeys("the key set holds no `keys`")
    keys: dict[str, VerifyingKey] = {}
    twice: set[str] = set()
    for kid, key in _usable(entries[:_MOST_KEYS]):
        if keys.setdefault(kid, key).source != key.source:
            twice.add(kid)
    found = {kid: key for kid, key in keys.items() if kid not in twice}
    if not found:
        raise NoKeys("the key set holds no usable key: RSA of 2,048 bits or more, or EC, for signatures")
    return found


def _usable(entries: list[Any]) -> Iterator[tuple[str, VerifyingKey]]:
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if isinstance(kid, str) and kid and (key := _verifying_key(entry)) is not None:
            yield kid, key


def _verifying_key(entry: dict[str, Any]) -> VerifyingKey | None:
    kind = (str(entry.get("kty")), str(entry.get("crv", "")))
    algorithm = ALGORITHMS.get(kind)
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    if _PRIVATE & entry.keys():
        return None
    try:
        key = jwt.PyJWK(entry, algorithm)
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return None
    if kind[0] == "RSA" and key.key.key_size < _LEAST_RSA_BITS:
        return None
    return VerifyingKey(key, algorithm, json.dumps(entry, sort_keys=True))


def key_id(token: str) -> str:
    """The ``kid`` that a token names. No other member of its header is looked at: ``jku``, ``jwk``, ``x5u`` and ``x5c``
    would let the token bring its own key along. Raises `BadToken`.
    """
    try:
        kid = _JWS.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError):
        raise BadToken("it is not a signed token") from None
    if not isinstance(kid, str) or not kid:
        raise BadToken("it does not name the key that signed it")
    return kid


def unverified_issuer(token: str) -> str | None:
    """The ``iss`` that a token of three parts claims, to choose the keys that it is verified with; None without one."""
    part = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def verified(token: str, key: VerifyingKey) -> Mapping[str, Any]:
    """The claims of a token that the key has signed. Nothing in them is checked yet. Raises `BadToken`."""
    try:
        payload = _JWS.decode(token, key.jwk, algorithms=[key.algorithm])
    except jwt.InvalidAlgorithmError:
        raise BadToken("its algorithm is not that of the issuer's key") from None
    except (jwt.PyJWTError, ValueError):
        raise BadToken("its signature is wrong") from None
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise BadToken("its claims cannot be read")
    return claims
