"""The rate budget of a key in a lane, from the ``X-RateLimit-*`` fields of Productlane's answers."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, Self

_MOST_DIGITS: Final = 15


class Budget(NamedTuple):
    """One reading: requests a minute, requests left, and the Unix second at which the count starts anew."""

    limit: int
    remaining: int
    reset: int

    @classmethod
    def read(cls, fields: Mapping[bytes, Sequence[bytes]]) -> Self | None:
        """Read an answer's fields (Productlane's page on rate limits); None where one is absent or not a number, or
        the limit is 0: no new minute would bring anything, and a key that may not be used at all gets 401 or 429.

        ``fields`` are values by names in lower case. Of several values of one field, the first counts.
        """
        try:
            limit = _number(fields[b"x-ratelimit-limit"][0])
            remaining = fields[b"x-ratelimit-remaining"][0]
            reset = _number(fields[b"x-ratelimit-reset"][0])
        except LookupError:
            return None
        if not limit or reset is None or not remaining.isdigit() or len(remaining) > _MOST_DIGITS:
            return None
        return cls(limit, int(remaining), reset)


# The limit and the reset are the same on all answers of a minute.
@lru_cache(maxsize=256)
def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else None
