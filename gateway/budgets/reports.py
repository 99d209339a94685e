"""What replicas report to each other of the counts that they share, once a second."""

from typing import Final

import msgspec

# A longer report is cut to the callers that ask most; more replicas than this are not listened to.
MOST_CALLERS: Final = 200
MOST_REPLICAS: Final = 64


class CallerReport(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One caller's part in a count: what a replica sent for it in the window, has waiting, and is asked a second."""

    weight: int
    used: int
    waiting: int
    rate: float


class CountReport(msgspec.Struct, frozen=True):
    """One count of one replica that callers use: what its last answer reported, and who uses it."""

    reset: int | None
    remaining: int
    callers: dict[str, CallerReport]


class Report(msgspec.Struct, frozen=True):
    """All that one replica reports. ``number`` grows by one each time; counts are by secret and lane."""

    number: int
    counts: dict[str, CountReport]


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """A report as it is stored."""
    return _ENCODER.encode(report)


class Reports:
    """The reports of the other replicas that are alive. Moments are monotonic seconds.

    A replica is alive while its report changes at least every ``alive`` seconds, by this host's clock: no clocks are
    compared. One that has not changed for ``forgotten`` seconds may be deleted.
    """

    def __init__(self, alive: float = 3.0, forgotten: float = 60.0) -> None:
        self._alive: Final = alive
        self._forgotten: Final = forgotten
        self._seen: dict[bytes, tuple[int, float]] = {}

    def read(self, stored: dict[bytes, bytes], own: bytes, now: float) -> tuple[list[Report], list[bytes]]:
        """The reports of others that are alive, and the names of those to delete. What is no report is deleted."""
        alive: list[Report] = []
        dead: list[bytes] = []
        seen: dict[bytes, tuple[int, float]] = {}
        for name, data in stored.items():
            if name == own:
                continue
            report = _read(data)
            if report is None:
                dead.append(name)
                continue
            number, since = self._seen.get(name, (report.number - 1, now))
            if number != report.number:
                since = now
            seen[name] = report.number, since
            if now - since <= self._alive and len(alive) < MOST_REPLICAS:
                alive.append(report)
            elif now - since > self._forgotten:
                dead.append(name)
        self._seen = seen
        return alive, dead


def _read(data: bytes) -> Report | None:
    """A report, if it is one whose numbers can be true."""
    try:
        report = _DECODER.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError):
        return None
    callers = [caller for count in report.counts.values() for caller in count.callers.values()]
    good = all(one.weight > 0 and one.used >= 0 and one.waiting >= 0 and 0 <= one.rate < 1e6 for one in callers)
    return report if good and all(count.remaining >= 0 for count in report.counts.values()) else None
