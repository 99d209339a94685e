"""The log read back: who asked what, how often, and what policy made of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec


class _Line(msgspec.Struct):
    """What is read of a line. Lines of events have no ``endpoint``."""

    time: str = ""
    caller: str = ""
    endpoint: str = ""
    decision: str = ""


@dataclass(slots=True)
class Seen:
    """How many requests, and the times of the first and the last of them (RFC 3339, UTC, to the second)."""

    count: int = 0
    first: str = ""
    last: str = ""

    def add(self, count: int, first: str, last: str) -> None:
        """Add requests that were made between two moments."""
        self.count += count
        self.first = min(self.first or first, first)
        self.last = max(self.last, last)


# A caller, an endpoint's name, and the decision: `allow`, `deny` or `would_deny`.
Asked: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class AccessLog:
    """Requests about which a policy decided, counted. ``all`` are they together with those that came to no decision.

    ``unreadable`` counts lines that are no JSON object of this log; lines of events are passed over.
    """

    requests: dict[Asked, Seen] = field(default_factory=dict)
    all: Seen = field(default_factory=Seen)
    unreadable: int = 0


def read_access_log(lines: Iterable[bytes], into: AccessLog | None = None) -> AccessLog:
    """Count the lines of a log in JSON. What stands before the first ``{`` is cut."""
    log = into or AccessLog()
    decode = msgspec.json.Decoder(_Line).decode
    for text in lines:
        start = text.find(b"{")
        if start < 0:
            log.unreadable += bool(text.strip())
            continue
        try:
            line = decode(text[start:])
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.unreadable += 1
            continue
        if line.endpoint:
            _count(line, log)
    return log


def _count(line: _Line, log: AccessLog) -> None:
    moment = f"{line.time[:19]}Z"
    log.all.add(1, moment, moment)
    if line.decision:
        asked = (line.caller, line.endpoint, line.decision)
        seen = log.requests.get(asked)
        if seen is None:
            seen = log.requests[asked] = Seen()
        seen.add(1, moment, moment)
