"""``Retry-After``, read and written (RFC 9110 section 10.2.3)."""

import math
from collections.abc import Mapping
from typing import Final

# Nine digits are 31 years. A longer number is nothing that anybody meant.
_MOST_DIGITS: Final = 9


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """The delay in seconds; None where the field is absent or is a date, which Productlane does not send.

    ``headers`` must be a mapping that ignores the case of names.
    """
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def retry_after(seconds: float) -> tuple[str, str]:
    """The response field: whole seconds, rounded up, and at least one."""
    return "Retry-After", str(max(1, math.ceil(seconds)))
