"""Bearer tokens that this gateway's own command makes, known by their digests alone."""

import hashlib
from typing import Final

from gateway.callers.kind import CredentialKind, Credentials, Entries, KeySets, Outcome, Verify
from gateway.callers.token_text import PREFIX
from gateway.callers.token_text import digest as digest
from gateway.callers.token_text import new_token as new_token
from gateway.config.reading.collections import Many
from gateway.config.reading.kinds import Text


def _hint(text: str) -> str:
    if not text.startswith(PREFIX):
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


def _verifier(entries: Entries, _setting: None, _keys: KeySets) -> Verify:
    def verify(shown: Credentials) -> Outcome:
        return entries.get(shown.digest)

    return verify


KIND: Final = CredentialKind(
    name="tokens",
    value=Many(_DIGEST, "digests of tokens"),
    description="SHA-256 digests of bearer tokens, made by `productlane-gateway token`; two while one is replaced.",
    noun="a token",
    advice="a token, as `Authorization: Bearer <token>`",
    challenge="Bearer",
    verifier=_verifier,
    written=lambda entry: f"sha256:{entry.hex()}",
    brief=lambda entry: f"sha256:{entry.hex()[:8]}…",
)
