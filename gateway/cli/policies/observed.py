"""What callers were seen to use: by running gateways, or in their access logs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from gateway.cli.keys.replicas import Answered
from gateway.cli.table import counted
from gateway.telemetry.access_log import AccessLog, Seen, read_access_log
from gateway.telemetry.status import Status, text


@dataclass(frozen=True, slots=True)
class Observed:
    """Requests of callers. All of those since ``since`` are known; where that is later than ``first``, some before too.

    ``source`` says where from, for people; ``faults`` say what is missing, a sentence each.
    """

    source: str
    log: AccessLog
    since: str
    until: str
    faults: tuple[str, ...] = ()

    def of(self, caller: str) -> dict[str, dict[str, Seen]]:
        """What a caller asked for: by endpoint name, then by decision."""
        found: dict[str, dict[str, Seen]] = {}
        for (name, endpoint, decision), seen in self.log.requests.items():
            if name == caller:
                found.setdefault(endpoint, {})[decision] = seen
        return found

    @property
    def callers(self) -> frozenset[str]:
        return frozenset(caller for caller, _, _ in self.log.requests)


def from_logs(streams: Iterable[IO[bytes]]) -> Observed:
    """What stands in access logs."""
    log, names = AccessLog(), []
    for stream in streams:
        read_access_log(stream, log)
        names.append(stream.name)
    faults = (f"{counted(log.unreadable, 'line')} could not be read",) if log.unreadable else ()
    return Observed(", ".join(names), log, log.all.first, log.all.last, faults)


def from_gateways(answers: Iterable[Answered]) -> Observed:
    """What running gateways counted, each since its own start."""
    log, faults, started, replicas = AccessLog(), [], [], []
    for answer in answers:
        if answer.status is None:
            faults.append(f"{answer.replica} did not answer: {answer.fault}")
        else:
            started.append(_add(answer.status, log))
            replicas.append(answer.replica)
    names = replicas[0] if len(replicas) == 1 else f"{len(replicas)} gateways"
    return Observed(names, log, max(started, default=""), log.all.last, tuple(faults))


def _add(status: Status, log: AccessLog) -> str:
    """Add what one gateway counted; returns when it started. A status tells one time for all decisions together."""
    started, now = text(status.started) or "", text(status.now) or ""
    log.all.add(0, started, now)
    for caller in status.callers:
        for endpoint, use in caller.used.items():
            counts = {"allow": use.allowed, "would_deny": use.would_deny, "deny": use.denied}
            for decision, count in counts.items():
                if count:
                    log.requests.setdefault((caller.caller, endpoint, decision), Seen()).add(
                        count, started, text(use.last) or now
                    )
    return started
