"""Bearer tokens that this gateway's own command makes, known by their digests alone."""

import hashlib
import secrets
from typing import Final

from gateway.callers.kind import CredentialKind, Credentials, Entries, KeySets, Outcome, Verify
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Text

# So that a secret scanner can find a token that has leaked.
_PREFIX: Final = "plgw_"


def _hint(text: str) -> str:
    if not text.startswith(_PREFIX):
        return ""
    found = hashlib.sha256(text.encode()).hexdigest()
    return f"a token; its digest is sha256:{found}, but others could read the token here, so make a new one"


_DIGEST: Final = Text(
    "sha256: and 64 hexadecimal digits, from `productlane-gateway token`",
    r"^sha256:[0-9a-f]{64}$",
    parse=lambda text: bytes.fromhex(text.removeprefix("sha256:")),
    private=True,
    hint=_hint,
)


def new_token() -> tuple[str, str]:
    """A fresh token with 256 bits of chance, and the ``sha256:`` line that a policy holds in its place."""
    token = _PREFIX + secrets.token_urlsafe(32)
    return token, f"sha256:{digest(token).hex()}"


def digest(token: str) -> bytes:
    """SHA-256 of a token. Tokens are random, so a plain digest is as strong as a slow one and can be looked up.

    No comparison then runs along the token's text, whose time would tell how much of a guess is right.
    """
    return hashlib.sha256(token.encode()).digest()


def _verifier(entries: Entries, _setting: None, _keys: KeySets) -> Verify:
    def verify(shown: Credentials) -> Outcome:
        return entries.get(shown.digest)

    return verify


KIND: Final = CredentialKind(
    name="tokens",
    value=Many(_DIGEST, "digests of tokens"),
    description="SHA-256 digests of bearer tokens, made by `productlane-gateway token`; two while one is replaced.",
    noun="a token",
    advice="a token, as `Authorization: Bearer …`",
    challenge="Bearer",
    verifier=_verifier,
    written=lambda entry: f"sha256:{entry.hex()}",
    brief=lambda entry: f"sha256:{entry.hex()[:8]}…",
)
