"""The form of a token of this gateway, and its digest. Imports nothing else, for the command that makes one."""

import hashlib
import secrets
from typing import Final

# So that a secret scanner can find a token that has leaked.
PREFIX: Final = "plgw_"
# A b64token (RFC 6750 section 2.1), the only form that a request can carry. Tokens of service accounts have about 1,000
# characters, with long names and large keys 2,500; those of GitHub have 1,500.
FORM: Final = r"[A-Za-z0-9._~+/=-]{1,4096}"


def new_token() -> tuple[str, str]:
    """A new token with 256 random bits, and the ``sha256:`` line for the policy."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, f"sha256:{digest(token).hex()}"


def digest(token: str) -> bytes:
    """SHA-256 of a token. Tokens are random, so a plain digest is as strong as a slow one and can be looked up.

    A look-up of the digest takes the same time however much of a guessed token is right.
    """
    return hashlib.sha256(token.encode()).digest()
