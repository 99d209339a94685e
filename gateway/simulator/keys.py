"""The keys that the simulated Productlane knows, and who a request's ``Authorization`` says it is."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.simulator.errors import ErrorCode, Failed

_PREFIX: Final = "pl_v2_"


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """An upstream key; without an ``api_key_id`` it gets one made from its secret."""

    secret: str = field(repr=False)
    scopes: frozenset[str]
    workspace: str = "wks_demo"
    api_key_id: str = ""

    def __post_init__(self) -> None:
        if not self.api_key_id:
            digest = hashlib.sha256(self.secret.encode()).hexdigest()
            object.__setattr__(self, "api_key_id", f"key_{digest[:12]}")

    @property
    def preview(self) -> str:
        """The four characters after the prefix, as the dashboard shows them."""
        return self.secret[len(_PREFIX) : len(_PREFIX) + 4]


class Ambiguous(LookupError):
    """More than one key has this preview."""


class KeyRing:
    """The keys by their secrets. Adding a secret that is there replaces its key."""

    def __init__(self, keys: Iterable[SimulatedKey]) -> None:
        self._keys: Final[dict[str, SimulatedKey]] = {}
        for key in keys:
            self.add(key)

    def __iter__(self) -> Iterator[SimulatedKey]:
        return iter(tuple(self._keys.values()))

    def add(self, key: SimulatedKey) -> None:
        """Raises `ValueError` if the secret is not a v2 one."""
        if not key.secret.startswith(_PREFIX):
            raise ValueError("a simulated key's secret starts with pl_v2_")
        self._keys[key.secret] = key

    def revoke(self, secret: str) -> None:
        """Raises `KeyError`, without the secret in it, if there is no such key."""
        self._keys.pop(self._known(secret).secret)

    def edit(self, secret: str, scopes: Iterable[str]) -> SimulatedKey:
        """Give a key other scopes, as the dashboard can at any time. Raises `KeyError`."""
        self._keys[secret] = edited = replace(self._known(secret), scopes=frozenset(scopes))
        return edited

    def named(self, name: str) -> SimulatedKey:
        """The key with this ``api_key_id`` or preview. Raises `KeyError`, or `Ambiguous` for a shared preview."""
        found = [key for key in self._keys.values() if name == key.api_key_id]
        found = found or [key for key in self._keys.values() if name == key.preview]
        if not found:
            raise KeyError("no such key")
        if len(found) > 1:
            raise Ambiguous("several keys have this preview; name one by its api_key_id")
        return found[0]

    def authenticate(self, credentials: Sequence[str]) -> SimulatedKey:
        """The key of the values of ``Authorization``. Raises `Failed`: 401, or 410 for a v1 key.

        A missing, malformed, unknown and revoked key are one and the same 401 (the page on authentication). Repeated
        fields are undocumented; two of them are no credential here.
        """
        scheme, _, secret = credentials[0].partition(" ") if len(credentials) == 1 else ("", "", "")
        if scheme.lower() == "bearer" and secret.startswith("pl_v1_"):
            raise Failed(ErrorCode.UNSUPPORTED_KEY_VERSION, "API v1 keys do not work on v2. Create a v2 key.")
        key = self._keys.get(secret) if scheme.lower() == "bearer" else None
        if key is None:
            raise Failed(ErrorCode.UNAUTHENTICATED, "Missing or invalid API key.")
        return key

    def _known(self, secret: str) -> SimulatedKey:
        key = self._keys.get(secret)
        if key is None:
            raise KeyError("no such key")
        return key
