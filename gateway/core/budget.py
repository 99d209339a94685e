"""The rate budget of a key in a lane, from the ``X-RateLimit-*`` fields of Productlane's answers."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.core.http_date import http_date

_MOST_DIGITS: Final = 15


class Reading(NamedTuple):
    """What all answers of one second say: requests a minute, and the Unix second at which the count starts anew.

    ``seconds`` is the reset less the answer's date, None without a date. Both are of the upstream's clock, so the
    clock of this host may be wrong by any amount.
    """

    limit: int
    reset: int
    seconds: float | None


def read_budget(fields: Mapping[bytes, Sequence[bytes]]) -> tuple[Reading, int] | tuple[None, int]:
    """Read an answer's fields (Productlane's page on rate limits): the reading, and how many requests are left.

    There is no reading where a field is absent or not a number, or the limit is 0: no new minute would bring anything,
    and a key that may not be used at all gets 401 or 429. ``fields`` are values by names in lower case. Of several
    values of one field, the first counts. Answers that say the same give the same `Reading` object, as long as it is
    remembered.
    """
    try:
        remaining = fields[b"x-ratelimit-remaining"][0]
        date = fields[b"date"][0] if b"date" in fields else b""
        reading = _reading(fields[b"x-ratelimit-limit"][0], fields[b"x-ratelimit-reset"][0], date)
    except LookupError:
        return None, 0
    if reading is None or not remaining.isdigit() or len(remaining) > _MOST_DIGITS:
        return None, 0
    return reading, int(remaining)


@lru_cache(maxsize=256)
def _reading(limit: bytes, reset: bytes, date: bytes) -> Reading | None:
    if not all(text.isdigit() and len(text) <= _MOST_DIGITS for text in (limit, reset)) or not int(limit):
        return None
    sent = http_date(date.decode("latin-1"))
    return Reading(int(limit), int(reset), None if sent is None else int(reset) - sent)
