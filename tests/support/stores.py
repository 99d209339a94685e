"""A store in memory that several `Identities` can share."""

from gateway.keys.store import BestEffortStore


class MemoryStore:
    """Keeps bytes in this process. Nothing ends by itself; readers judge ages."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.entries.get(key)

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        self.entries[key] = value

    async def delete(self, key: str) -> None:
        self.entries.pop(key, None)

    async def claim(self, key: str, seconds: float) -> bool:
        if key in self.entries:
            return False
        self.entries[key] = b"1"
        return True

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    @property
    def kept(self) -> BestEffortStore:
        """As the gateway uses it."""
        return BestEffortStore(self)
