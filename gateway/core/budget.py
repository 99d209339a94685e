"""What a key may still spend in a lane, as Productlane's ``X-RateLimit-*`` fields tell it on every answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Budget:
    """One reading: requests a minute, requests left, and the Unix second at which the count starts anew."""

    limit: int
    remaining: int
    reset: int

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Self | None:
        """Read an answer's fields (Productlane's page on rate limits); None where one is absent or not a number.

        ``headers`` must be a mapping that does not mind the case of names.
        """
        texts = [headers.get(f"X-RateLimit-{part}", "") for part in ("Limit", "Remaining", "Reset")]
        if not all(text.isascii() and text.isdigit() and len(text) <= 15 for text in texts):
            return None
        return cls(*(int(text) for text in texts))
