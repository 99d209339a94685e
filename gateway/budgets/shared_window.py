"""Requests of the last minute, counted in a Redis or Valkey that replicas share.

Imported only where one is configured: its client takes 115 ms. Redis' own clock is the one that counts, so replicas
need not agree on theirs, and one script does it in one round trip.
"""

from typing import Any, Final

from gateway.budgets.moving_window import Room
from gateway.budgets.redis_client import client
from gateway.config.store import Redis

# KEYS[1] is a list of moments in milliseconds, newest first; ARGV are the limit and the window in milliseconds. The
# answer is the milliseconds until there is room, 0 where the request was counted, how many more there is room for, and
# the milliseconds until there is room for one more. A search by halves finds the oldest moment in the window.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local last = tonumber(redis.call('LINDEX', KEYS[1], most - 1) or '')
if last and last > now - window then
  local wait = string.format('%.0f', last + window - now)
  return {wait, '0', wait}
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, most - 1)
redis.call('PEXPIRE', KEYS[1], window)
local newest, past = 0, most
while past - newest > 1 do
  local middle = math.floor((newest + past) / 2)
  local moment = tonumber(redis.call('LINDEX', KEYS[1], middle) or '')
  if moment and moment > now - window then newest = middle else past = middle end
end
local oldest = tonumber(redis.call('LINDEX', KEYS[1], newest))
return {'0', string.format('%.0f', most - past), string.format('%.0f', oldest + window - now)}
"""


class SharedWindow:
    """The count of all replicas. A connection and a reply have ``patience`` seconds."""

    def __init__(self, redis: Redis, patience: float) -> None:
        self._client: Final = client(redis, patience)
        self._prefix: Final = f"{redis.prefix}:limits"
        self._script: Final = self._client.register_script(_SCRIPT)

    async def spend(self, key: str, most: int, seconds: float) -> Room:
        """As `MovingWindows.spend`. Raises as the client does, and `ValueError` for a count that cannot be true."""
        window = int(seconds * 1000)
        answer: Any = await self._script(keys=[f"{self._prefix}:{key}"], args=[most, window])
        wait, left, more = (int(number) for number in answer)
        if not (0 <= wait <= window and 0 <= left < most and 0 <= more <= window):
            raise ValueError("the count says what cannot be true: somebody else has written to it")
        return Room(wait / 1000, left, more / 1000)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
