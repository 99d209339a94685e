"""The HTTP header fields that report budgets to callers, and those in which callers ask for something."""

import math
import re
from functools import lru_cache
from typing import Final

from gateway.budgets.claims import Claim
from gateway.budgets.rates import WINDOW
from gateway.core.catalog import Lane

# RFC 7240 section 4.3, among other preferences of the same field.
_WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)
# Names of policies are strings (draft-ietf-httpapi-ratelimit-headers-10 section 3).
_NAMES: Final = {lane: f'"{lane.value}"' for lane in Lane}


def preferred_wait(prefer: str, longest: float) -> float:
    """How many seconds a request may wait: ``longest``, or less where its ``Prefer`` says ``wait=N``."""
    found = _WAIT.search(prefer) if prefer else None
    return longest if found is None else min(longest, float(found[1]))


def rate_limit_fields(claim: Claim, now: float) -> list[tuple[str, str]]:
    """``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4).

    They report the caller's own share of the key, not the whole limit. ``q`` is its part of the limit as long as the
    same callers ask, ``r`` what it may still send in this window, and ``t`` the seconds until the next window. There
    are no fields until the upstream has reported a limit.
    """
    if claim.windows[0].reset is None and claim.windows[-1].reset is None:
        return []
    share, mine, seconds = claim.quota(now)
    return [_policy(claim.lane, share), ("RateLimit", f"{_NAMES[claim.lane]};r={mine};t={math.ceil(seconds)}")]


@lru_cache(maxsize=256)
def _policy(lane: Lane, share: int) -> tuple[str, str]:
    return "RateLimit-Policy", f"{_NAMES[lane]};q={share};w={WINDOW:.0f}"
