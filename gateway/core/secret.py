"""A secret value: an upstream key that shows itself only as its preview."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

PREFIX: Final = "pl_v2_"
_MARK: Final = PREFIX.encode()

# Length and alphabet of a key are undocumented. RFC 6750 section 2.1 gives what may stand after "Bearer ".
_SHAPE: Final = re.compile(r"pl_v2_(?=.{8,512}$)[A-Za-z0-9._~+/-]+=*")


class BadSecret(ValueError):
    """The text is not a v2 key. The message says what to do and never holds the text."""


class Secret:
    """One value of a key, ``pl_v2_…``. Printed, logged or compared, it never shows more than its preview.

    ``fingerprint`` is 64 hex digits that name the secret where its text may not stand, such as a cache's key.
    ``lines`` are those that a request is sent with, once `gateway.core.headers` has made them.
    Raises `BadSecret` where the text does not look like a v2 key; a v1 key is named as such.
    """

    __slots__ = ("_bytes", "_value", "fingerprint", "lines")

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
        self.lines = b""
        # Keyed by the secret itself: replicas agree on it with no further setting. It says whether a text is the
        # secret, and a vendor's key is too long and too random to be guessed with its help.
        keyed = hmac.new(text.encode(), b"productlane-gateway fingerprint v1", hashlib.sha256)
        self.fingerprint: Final = keyed.hexdigest()

    @property
    def preview(self) -> str:
        """The four characters after the prefix, as Productlane's dashboard shows them."""
        return self._value[len(PREFIX) : len(PREFIX) + 4]

    def reveal(self) -> str:
        """The text itself. A test counts the places that call this."""
        return self._value

    def seal(self, data: bytes) -> str:
        """64 hex digits that only a holder of the secret can make for these bytes (HMAC-SHA-256)."""
        return hmac.new(self._value.encode(), b"productlane-gateway seal v1\0" + data, hashlib.sha256).hexdigest()

    def hide(self, data: bytes) -> bytes:
        """The bytes, as many as before, with the preview and ``*`` in place of this secret."""
        text = self._bytes
        return data.replace(text, f"{PREFIX}{self.preview}".encode().ljust(len(text), b"*")) if text in data else data

    def starts_with(self, data: bytes) -> bool:
        """Whether bytes are the beginning of this secret."""
        return self._bytes.startswith(data)

    def is_in_name(self, name: bytes) -> bool:
        """Whether the name of a field, in lower case, holds this secret."""
        return self._bytes.lower() in name

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.fingerprint, other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Secret({PREFIX}{self.preview}…)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is never serialised")


class HeldSecrets:
    """Every secret that a process holds, to keep each out of everything that leaves it.

    All secrets begin with ``pl_v2_``, so one search for that is the whole cost where there is nothing to hide. Secrets
    that are encoded or compressed are not found.
    """

    __slots__ = ("_longest", "_secrets")

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self.hold(secrets)

    def hold(self, secrets: Iterable[Secret]) -> None:
        """Hide these from now on, and no others. A `Mask` that is in use goes on with those of before."""
        # The longest first: one secret may be the beginning of another.
        self._secrets = tuple(sorted({*secrets}, key=len, reverse=True))
        self._longest = len(self._secrets[0]) if self._secrets else 0

    def including(self, secret: Secret) -> "HeldSecrets":
        """These and one more: a request goes on with its secret after a change has taken it away."""
        return self if secret in self._secrets else HeldSecrets((*self._secrets, secret))

    def hide(self, data: bytes) -> bytes:
        """The bytes, as many as before, with a preview and ``*`` in place of each secret."""
        # rfind, since it is three times as fast as find for a text like this one.
        if data.rfind(_MARK) < 0:
            return data
        for secret in self._secrets:
            data = secret.hide(data)
        return data

    def redact_lines(self, lines: list[bytes]) -> bytes:
        """Lines of a head, joined by line breaks, with each secret hidden. A line with one in its name, in any case, is
        dropped.
        """
        block = b"\r\n".join(lines)
        if block.lower().rfind(_MARK) < 0:
            return block
        kept = (line for line in lines if not self._is_in_name(line.partition(b":")[0].lower()))
        return b"\r\n".join(map(self.hide, kept))

    def _is_in_name(self, name: bytes) -> bool:
        return _MARK in name and any(secret.is_in_name(name) for secret in self._secrets)

    def occur_in(self, value: object) -> bool:
        """Whether a secret is anywhere in a value that was read from JSON, names of fields included."""
        if isinstance(value, str):
            data = value.encode("utf-8", "surrogateescape")
            return self.hide(data) != data
        if isinstance(value, Mapping):
            return any(self.occur_in(name) or self.occur_in(one) for name, one in value.items())
        return isinstance(value, list) and any(map(self.occur_in, value))

    def starts_at_the_end_of(self, data: bytes) -> int:
        """How many bytes at the end may be the start of a secret."""
        at = data.find(_MARK, max(0, len(data) - self._longest + 1))
        while at >= 0:
            end = data[at:]
            if any(secret.starts_with(end) for secret in self._secrets):
                return len(end)
            at = data.find(_MARK, at + 1)
        return next((size for size in range(len(_MARK) - 1, 0, -1) if data.endswith(_MARK[:size])), 0)

    def mask(self) -> "Mask":
        """What takes these secrets out of a body that comes in pieces."""
        return Mask(self)


class Mask:
    """Takes secrets out of bytes that come in pieces, wherever they are cut, as `HeldSecrets.hide` does.

    The length stays the same, so that a stated one stays true.
    """

    __slots__ = ("_kept", "_secrets")

    def __init__(self, secrets: HeldSecrets) -> None:
        self._secrets = secrets
        self._kept = b""

    def feed(self, piece: bytes) -> bytes:
        """The bytes that are safe to send; keeps an end that may be the start of a secret."""
        data = self._secrets.hide(self._kept + piece if self._kept else piece)
        begun = self._secrets.starts_at_the_end_of(data)
        self._kept = data[len(data) - begun :] if begun else b""
        return data[: len(data) - begun] if begun else data

    def rest(self) -> bytes:
        """What was kept back; nothing follows it."""
        kept, self._kept = self._kept, b""
        return kept
