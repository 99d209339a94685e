"""The HTTP header fields that report budgets to callers, and those in which callers ask for something."""

import re
from base64 import b64encode
from functools import lru_cache
from math import ceil
from typing import Final

from gateway.budgets.claims import Claim
from gateway.budgets.rates import WINDOW

# RFC 7240 section 4.3, among other preferences of the same field.
_WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def preferred_wait(prefer: str, longest: float) -> float:
    """How many seconds a request may wait: ``longest``, or less where its ``Prefer`` says ``wait=N``."""
    found = _WAIT.search(prefer) if prefer else None
    return longest if found is None else min(longest, float(found[1]))


def rate_limit_fields(claim: Claim, now: float) -> bytes:
    """``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4).

    They report the caller's own share of the key, not the whole limit. ``q`` is its part of the limit as long as the
    same callers ask, ``r`` what it may still send in this window, ``t`` the seconds until the next window, and ``pk``
    whose share it is. Until the upstream reports a limit, the share is of the usual one. Names are
    strings (section 3). These are two lines of a head, with a line break between them.
    """
    part = claim if claim.also is None else claim.scarcest(now)
    share, mine, seconds = part.window.quota(part.flow, now)
    return _template(claim.lane, part.flow.caller, share) % (mine, ceil(seconds))


def limit_fields(name: str, caller: str, quota: int, left: int, seconds: float) -> bytes:
    """The two fields of one policy: its name, its quota a minute, what is left of it, and when there is more."""
    return _template(name, caller, quota) % (left, ceil(seconds))


@lru_cache(maxsize=1024)
def _template(name: str, caller: str, quota: int) -> bytes:
    """All of the fields but the numbers of ``r`` and ``t``, which change with each answer."""
    # ``pk`` is a byte sequence (RFC 9651 section 3.3.5).
    policy, whose = name.encode(), b";pk=:%b:" % b64encode(caller.encode())
    begin = b'RateLimit-Policy: "%b";q=%d;w=%d%b' % (policy, quota, WINDOW, whose)
    return b'%b\r\nRateLimit: "%b";r=%%d;t=%%d%b' % (begin, policy, whose)


def as_pairs(lines: bytes) -> tuple[tuple[str, str], ...]:
    """Lines of a head as names and values."""
    return tuple((name, value) for name, _, value in (line.partition(": ") for line in lines.decode().split("\r\n")))


def with_budgets(headers: tuple[tuple[str, str], ...], *lines: bytes) -> tuple[tuple[str, str], ...]:
    """Header fields with those of ``lines`` whose policies they do not have yet.

    Each policy has its own pair of fields: a list may be divided so (RFC 9651 section 3.1).
    """
    there = {(name, value.partition(";")[0]) for name, value in headers}
    pairs = [pair for line in lines if line for pair in as_pairs(line)]
    return (*headers, *(pair for pair in pairs if (pair[0], pair[1].partition(";")[0]) not in there))
