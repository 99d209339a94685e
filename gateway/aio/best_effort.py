"""Calls to something that may fail or hang. After a failure, no caller waits for it for a while."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.aio.background import Background
from gateway.aio.waiting import finished

_T = TypeVar("_T")


class Resting(Exception):
    """No call was made: the last failure is too recent."""


class CallFailed(Exception):
    """A call failed, or gave no answer in time. ``reason`` is a short phrase, free of what the error's text quotes."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason: Final = reason
        self.timed_out: Final = timed_out


class BestEffort:
    """Waits ``timeout`` seconds for each call; after a failure nothing is called for ``rest`` seconds.

    So something that is down costs one caller the time-out, not every caller. ``clock`` is monotonic seconds.
    """

    def __init__(self, *, timeout: float, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout: Final = timeout
        self._rest: Final = rest
        self._clock: Final = clock
        self._resume = float("-inf")
        self._calls: Final = Background()

    @property
    def resting(self) -> bool:
        """Whether `call` raises `Resting` now."""
        return self._clock() < self._resume

    def rest(self) -> None:
        """Call nothing for a while, as after a failure."""
        self._resume = self._clock() + self._rest

    async def call(
        self, work: Callable[[], Awaitable[_T]], *, timeout: float | None = None, always: bool = False
    ) -> _T:
        """The result of ``work``. Raises `Resting`, unless ``always``, and `CallFailed` from the error of the call."""
        if not always and self.resting:
            raise Resting
        limit = self._timeout if timeout is None else timeout
        call = self._calls.start(_awaited(work))
        try:
            # Not `asyncio.wait_for`, which goes on waiting for a client that ignores its cancellation.
            await finished(call, limit)
        finally:
            call.cancel()
        if not call.done():
            self.rest()
            raise CallFailed(f"no answer in {limit * 1000:.0f} ms", timed_out=True)
        if call.cancelled():
            self.rest()
            raise CallFailed("cancelled")
        if (error := call.exception()) is not None:
            self.rest()
            raise CallFailed(_kind_of(error)) from error
        return call.result()

    async def close(self) -> None:
        """Cancel running calls, and wait for their end at most as long as for any call."""
        await self._calls.close(self._timeout)


async def _awaited(work: Callable[[], Awaitable[_T]]) -> _T:
    return await work()


def _kind_of(error: BaseException) -> str:
    """The kind of an error, never its text: that of a client may quote what was sent."""
    return str(getattr(error, "sqlite_errorname", "") or type(error).__name__)
