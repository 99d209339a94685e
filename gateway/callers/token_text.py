"""What a token of this gateway looks like, and its digest. Imports nothing else, for the command that makes one."""

import hashlib
import secrets
from typing import Final

# So that a secret scanner can find a token that has leaked.
PREFIX: Final = "plgw_"


def new_token() -> tuple[str, str]:
    """A fresh token with 256 bits of chance, and the ``sha256:`` line that a policy holds in its place."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, f"sha256:{digest(token).hex()}"


def digest(token: str) -> bytes:
    """SHA-256 of a token. Tokens are random, so a plain digest is as strong as a slow one and can be looked up.

    No comparison then runs along the token's text, whose time would tell how much of a guess is right.
    """
    return hashlib.sha256(token.encode()).digest()
