"""A secret value: an upstream key that shows itself only as its preview."""

import hashlib
import hmac
import re
from typing import Final

PREFIX: Final = "pl_v2_"

# Length and alphabet of a key are undocumented. RFC 6750 section 2.1 gives what may stand after "Bearer ".
_SHAPE: Final = re.compile(r"pl_v2_(?=.{8,512}$)[A-Za-z0-9._~+/-]+=*")


class BadSecret(ValueError):
    """The text is not a v2 key. The message says what to do and never holds the text."""


class Secret:
    """One value of a key, ``pl_v2_…``. Printed, logged or compared, it never shows more than its preview.

    ``fingerprint`` is 64 hex digits that name the secret where its text may not stand, such as a cache's key.
    Raises `BadSecret` where the text does not look like a v2 key; a v1 key is named as such.
    """

    __slots__ = ("_bytes", "_value", "fingerprint")

    def __init__(self, text: str) -> None:
        if text.startswith("pl_v1_"):
            raise BadSecret(
                "is a v1 key (pl_v1_…), which v2 answers with 410; create a v2 key in Productlane under "
                "Settings → Integrations → API"
            )
        if not _SHAPE.fullmatch(text):
            raise BadSecret(
                "is not a v2 key: one line `pl_v2_…` is expected" if text.strip() else "is empty: a v2 key is expected"
            )
        self._value = text
        self._bytes = text.encode()
        # Keyed by the secret itself: replicas agree on it with no further setting. It says whether a text is the
        # secret, and a vendor's key is too long and too random for that to help whoever guesses.
        keyed = hmac.new(text.encode(), b"productlane-gateway fingerprint v1", hashlib.sha256)
        self.fingerprint: Final = keyed.hexdigest()

    @property
    def preview(self) -> str:
        """The four characters after the prefix, as Productlane's dashboard shows them."""
        return self._value[len(PREFIX) : len(PREFIX) + 4]

    def reveal(self) -> str:
        """The text itself. A test counts the places that call this."""
        return self._value

    def redact(self, text: str) -> str:
        """The text with every occurrence of this secret replaced by its preview."""
        return text.replace(self._value, f"{PREFIX}{self.preview}…") if self._value in text else text

    def redact_lines(self, lines: list[bytes]) -> list[bytes]:
        """Header lines without this secret, in names and in values; it is as long there as it was."""
        secret = self._bytes
        if not any(secret in line for line in lines):
            return lines
        masked = f"{PREFIX}{self.preview}".encode().ljust(len(secret), b"*")
        return [line.replace(secret, masked) for line in lines]

    def seal(self, data: bytes) -> str:
        """64 hex digits that only whoever holds the secret can make for these bytes (HMAC-SHA-256)."""
        return hmac.new(self._value.encode(), b"productlane-gateway seal v1\0" + data, hashlib.sha256).hexdigest()

    def hide(self, body: bytes) -> bytes:
        """A whole body without this secret, as `Mask` would leave it."""
        # rfind, since it is three times as fast as find for a text like this one.
        if body.rfind(self._bytes) < 0:
            return body
        mask = self.mask()
        return mask.feed(body) + mask.rest()

    def mask(self) -> "Mask":
        """What takes this secret out of a body that comes in pieces."""
        return Mask(self._bytes, f"{PREFIX}{self.preview}".encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.fingerprint, other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Secret({PREFIX}{self.preview}…)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is never serialised")


class Mask:
    """Takes a secret out of bytes that come in pieces, wherever they are cut.

    In its place stand its preview and as many ``*`` as make it as long as it was, so that a stated length stays true.
    Bytes in which a secret is encoded or compressed cross as they are.
    """

    __slots__ = ("_held", "_instead", "_secret")

    def __init__(self, secret: bytes, preview: bytes) -> None:
        self._secret = secret
        self._instead = preview.ljust(len(secret), b"*")
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be sent on of all that has come: all but an end that may be the beginning of the secret."""
        data = self._held + piece if self._held else piece
        if data.rfind(self._secret) >= 0:
            data = data.replace(self._secret, self._instead)
        begun = self._begun(data)
        self._held = data[len(data) - begun :]
        return data[: len(data) - begun] if begun else data

    def rest(self) -> bytes:
        """What was kept back; nothing follows it."""
        held, self._held = self._held, b""
        return held

    def _begun(self, data: bytes) -> int:
        tail = data[1 - len(self._secret) :]
        at = tail.find(self._secret[:1])
        while at >= 0 and not self._secret.startswith(tail[at:]):
            at = tail.find(self._secret[:1], at + 1)
        return len(tail) - at if at >= 0 else 0
