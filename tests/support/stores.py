"""Stores for tests: one in memory that several `Identities` can share, one that fails and one that hangs."""

import asyncio

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


class BrokenStore:
    """Raises whatever is wanted of it, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def _fail(self, error: OSError) -> None:
        self.asked += 1
        raise error

    async def get(self, key: str) -> bytes | None:
        await self._fail(ConnectionError("down"))
        return None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await self._fail(OSError(28, "No space left on device"))

    async def claim(self, key: str, seconds: float) -> bool:
        await self._fail(ConnectionError("down"))
        return False

    async def delete(self, key: str) -> None:
        await self._fail(ConnectionError("down"))

    async def open(self) -> None:
        await self._fail(ConnectionError("down"))

    async def close(self) -> None:
        """There is nothing to close."""


class SilentStore(BrokenStore):
    """Accepts every call and never answers, not even to its cancellation, until it is released. Then it fails."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.ended = 0

    async def _fail(self, error: OSError) -> None:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        self.ended += 1
        raise ConnectionError("too late")
