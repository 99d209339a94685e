"""The date of an HTTP message as Unix seconds."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_IMF_FIXDATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ("
    + "|".join(_MONTHS)
    + r") ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
).fullmatch


# All answers of one second have the same date.
@lru_cache(maxsize=8)
def http_date(text: str) -> int | None:
    """Read an IMF-fixdate (RFC 9110 section 5.6.7), the one form that a sender may make; None for any other text."""
    found = _IMF_FIXDATE(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        # A leap second is read as the second before it: datetime has none.
        moment = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), min(59, int(second)), tzinfo=UTC
        )
    except ValueError:
        return None
    return int(moment.timestamp())
