"""What changes for each caller between two sets of policies, with the logged requests that it concerns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway.callers.kind import CredentialKind
from gateway.callers.kinds import KINDS
from gateway.cli.table import counted, table
from gateway.config.assembly.policies import PolicyFile
from gateway.core.comparison import LET_THROUGH, WOULD_DENY, Difference, Setting, VerdictChange, set_difference
from gateway.telemetry.access_log import AccessLog, Seen

# A change of mode concerns most endpoints, and nobody reads it line by line: beyond so many they are counted.
_MOST: Final = 12
_DENY: Final = "deny"


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for one caller. ``kind`` is ``added``, ``removed`` or ``changed``."""

    caller: str
    kind: str
    settings: tuple[Setting, ...]
    verdicts: tuple[VerdictChange, ...]


@dataclass(frozen=True, slots=True)
class Logged:
    """The requests of a log, beside what changes."""

    log: AccessLog

    def of_verdict(self, verdict: VerdictChange) -> Seen | None:
        """The requests that the change would decide in another way than the log says."""
        found = Seen()
        for decision in _decisions(verdict):
            if (seen := self.log.requests.get((verdict.caller, verdict.endpoint.name, decision))) is not None:
                found.add(seen.count, seen.first, seen.last)
        return found if found.count else None

    def count(self, verdicts: Iterable[VerdictChange]) -> int:
        return sum(seen.count for verdict in verdicts if (seen := self.of_verdict(verdict)) is not None)


def _decisions(verdict: VerdictChange) -> tuple[str, ...]:
    """What the log says about the requests that a change concerns: what was refused already cannot be lost."""
    if verdict.lost:
        return tuple(LET_THROUGH)
    return (verdict.before,) if verdict.before in LET_THROUGH else (_DENY,)


def changes_of(
    differences: Iterable[Difference], before: Mapping[str, PolicyFile], after: Mapping[str, PolicyFile]
) -> list[Change]:
    """The differences with those of ``authenticate``, by caller."""
    found = {difference.caller: difference for difference in differences}
    changes = []
    for caller in sorted({*before, *after}):
        difference, old, new = found.get(caller), before.get(caller), after.get(caller)
        settings = _authenticate(old, new) + (difference.settings if difference else ())
        if settings or difference:
            kind = "added" if old is None else "removed" if new is None else "changed"
            changes.append(Change(caller, kind, settings, difference.verdicts if difference else ()))
    return changes


def _authenticate(old: PolicyFile | None, new: PolicyFile | None) -> tuple[Setting, ...]:
    """How `authenticate` differs. A token's digest is cut to what tells it from others."""

    def of(file: PolicyFile | None, kind: CredentialKind) -> list[str]:
        return [kind.brief(entry) for entry in file.authenticate.get(kind.name, ())] if file else []

    found = (set_difference(f"authenticate.{name}", of(old, kind), of(new, kind)) for name, kind in KINDS.items())
    return tuple(setting for setting in found if setting is not None)


def text(changes: Sequence[Change], logged: Logged | None) -> str:
    """Everything for people."""
    parts = [_change_text(change, logged) for change in changes]
    return "\n\n".join([*parts, _summary(changes, logged)])


def _change_text(change: Change, logged: Logged | None) -> str:
    lines = [f"{change.caller}  ({change.kind})"]
    rows = []
    for setting in change.settings:
        rows += [("-", setting.name, text) for text in setting.removed]
        rows += [("+", setting.name, text) for text in setting.added]
    if rows:
        lines.append(table(rows, "  "))
    if change.verdicts:
        lines += ["", _verdicts_text(change.verdicts, logged)]
    return "\n".join(lines)


def _verdicts_text(verdicts: Sequence[VerdictChange], logged: Logged | None) -> str:
    """The verdicts as a table. Of a change of mode, only the endpoints that were requested stand in it."""
    ways: dict[tuple[str, str], list[VerdictChange]] = {}
    for verdict in verdicts:
        ways.setdefault((verdict.before, verdict.after), []).append(verdict)
    shown, left = [], []
    for (before, after), alike in ways.items():
        whole = WOULD_DENY not in (before, after) or len(alike) <= _MOST
        listed = alike if whole else [verdict for verdict in alike if logged and logged.of_verdict(verdict)]
        shown += listed
        if more := len(alike) - len(listed):
            left.append(
                f"  {'and ' if listed else ''}{counted(more, 'endpoint')}: {before} → {after} (--json lists them)"
            )
    head = ["endpoint", "before", "after"] + (["requests", "last"] if logged else [])
    rows = [_verdict_row(verdict, logged) for verdict in shown]
    return "\n".join([*([table([head, *rows], "  ")] if rows else []), *left])


def _verdict_row(verdict: VerdictChange, logged: Logged | None) -> list[str]:
    row = [verdict.endpoint.name, verdict.before, verdict.after]
    if logged is None:
        return row
    seen = logged.of_verdict(verdict)
    return [*row, str(seen.count), seen.last] if seen else [*row, "0", "-"]


def _summary(changes: Iterable[Change], logged: Logged | None) -> str:
    verdicts = [verdict for change in changes for verdict in change.verdicts]
    lost, gained = (
        [verdict for verdict in verdicts if verdict.lost],
        [verdict for verdict in verdicts if verdict.gained],
    )
    callers = len({verdict.caller for verdict in verdicts})
    if verdicts:
        text = f"{counted(len(verdicts), 'verdict')} of {counted(callers, 'caller')} would change: "
        text += f"{len(lost)} from let through to refused, {len(gained)} from refused to let through."
    else:
        text = "No verdict changes."
    if logged is not None:
        every = logged.log.all
        text += (
            f"\nOf {counted(every.count, 'request')} logged from {every.first} to {every.last}, "
            f"{logged.count(verdicts)} would come to something else, {logged.count(lost)} would be refused that "
            f"{'was' if logged.count(lost) == 1 else 'were'} not."
        )
        if logged.log.unreadable:
            text += f" {counted(logged.log.unreadable, 'line')} could not be read."
    return text


def facts(changes: Sequence[Change], logged: Logged | None) -> dict[str, Any]:
    """Everything as JSON can carry it."""
    verdicts = [verdict for change in changes for verdict in change.verdicts]
    lost = [verdict for verdict in verdicts if verdict.lost]
    found: dict[str, Any] = {
        "verdicts": len(verdicts),
        "lost": len(lost),
        "gained": sum(verdict.gained for verdict in verdicts),
        "callers": [
            {
                "caller": change.caller,
                "change": change.kind,
                "settings": [asdict(setting) for setting in change.settings],
                "verdicts": [_verdict_facts(verdict, logged) for verdict in change.verdicts],
            }
            for change in changes
        ],
        "against": None,
    }
    if logged is not None:
        found["against"] = {
            "requests": logged.log.all.count,
            "from": logged.log.all.first,
            "to": logged.log.all.last,
            "changed": logged.count(verdicts),
            "lost": logged.count(lost),
            "unreadable_lines": logged.log.unreadable,
        }
    return found


def _verdict_facts(verdict: VerdictChange, logged: Logged | None) -> dict[str, Any]:
    found: dict[str, Any] = {"endpoint": verdict.endpoint.name, "before": verdict.before, "after": verdict.after}
    if logged is not None:
        seen = logged.of_verdict(verdict)
        found |= {"requests": seen.count if seen else 0, "last": seen.last if seen else None}
    return found
