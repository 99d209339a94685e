"""Finds a secret in bytes: whole or in part, plain or in the encodings that tools print."""

import base64
from collections.abc import Iterator, Mapping
from typing import Final

from tests.support.sentinels import KEY, TOKEN

# A preview may show a key's prefix and four characters, ten in all.
PART: Final = 12
SENTINELS: Final = (KEY, TOKEN)


def parts(secret: str) -> Iterator[bytes]:
    """Every stretch of `PART` characters as it could be found, lower-case, plain, in hex and in base64."""
    for start in range(len(secret) - PART + 1):
        part = secret[start : start + PART].encode()
        yield part.lower()
        yield part.hex().encode()
        # Three bytes are four characters of base64, wherever in a longer text they begin.
        yield base64.b64encode(part).lower()


def found(places: Mapping[str, bytes]) -> list[str]:
    """The places that contain a part of a sentinel, each with the text around the first such part."""
    wanted = {part for secret in SENTINELS for part in parts(secret)}
    return [f"{name}: {around!r}" for name, text in places.items() if (around := _first(text, wanted))]


def _first(text: bytes, wanted: set[bytes]) -> bytes:
    low = text.lower()
    at = min((place for part in wanted if (place := low.find(part)) >= 0), default=-1)
    return text[max(0, at - 80) : at + 80] if at >= 0 else b""
