"""What a key may still spend in a lane, as Productlane's ``X-RateLimit-*`` fields tell it on every answer."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

_NUMBER: Final = re.compile(r"[0-9]{1,15}").fullmatch


class Budget(NamedTuple):
    """One reading: requests a minute, requests left, and the Unix second at which the count starts anew."""

    limit: int
    remaining: int
    reset: int

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self | None:
        """Read an answer's fields (Productlane's page on rate limits); None where one is absent or not a number, or
        the limit is 0: no new minute would bring anything, and a key that may not be used at all gets 401 or 429.

        ``headers`` must be a mapping that does not mind the case of names.
        """
        limit = headers.get("X-RateLimit-Limit", "")
        if not limit:
            return None
        remaining, reset = headers.get("X-RateLimit-Remaining", ""), headers.get("X-RateLimit-Reset", "")
        if _NUMBER(limit) and int(limit) and _NUMBER(remaining) and _NUMBER(reset):
            return cls(int(limit), int(remaining), int(reset))
        return None
