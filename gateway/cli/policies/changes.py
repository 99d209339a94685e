"""What changes for each caller between two sets of policies, with the logged requests that it concerns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from gateway.callers.kind import CredentialKind
from gateway.callers.kinds import KINDS
from gateway.cli.table import table
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
    turns: tuple[VerdictChange, ...]


@dataclass(frozen=True, slots=True)
class Logged:
    """The requests of a log, by caller, endpoint and what was decided about them then."""

    all: Seen
    unreadable: int
    requests: Mapping[tuple[str, str, str], Seen]

    @classmethod
    def of(cls, log: AccessLog) -> Self:
        return cls(log.all, log.unreadable, log.requests)

    def of_turn(self, turn: VerdictChange) -> Seen | None:
        """The requests that the change would decide in another way than the log says."""
        found = Seen()
        for decision in _decisions(turn):
            if (seen := self.requests.get((turn.caller, turn.endpoint.name, decision))) is not None:
                found.add(seen.count, seen.first, seen.last)
        return found if found.count else None

    def count(self, turns: Iterable[VerdictChange]) -> int:
        return sum(seen.count for turn in turns if (seen := self.of_turn(turn)) is not None)


def _decisions(turn: VerdictChange) -> tuple[str, ...]:
    """What the log says about the requests that a change concerns: what was refused already cannot be lost."""
    if turn.lost:
        return tuple(LET_THROUGH)
    return (turn.before,) if turn.before in LET_THROUGH else (_DENY,)


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
            changes.append(Change(caller, kind, settings, difference.turns if difference else ()))
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
    if change.turns:
        lines += ["", _turns_text(change.turns, logged)]
    return "\n".join(lines)


def _turns_text(turns: Sequence[VerdictChange], logged: Logged | None) -> str:
    """The turns as a table. Of a change of mode, only the endpoints that were requested stand in it."""
    ways: dict[tuple[str, str], list[VerdictChange]] = {}
    for turn in turns:
        ways.setdefault((turn.before, turn.after), []).append(turn)
    shown, left = [], []
    for (before, after), alike in ways.items():
        whole = WOULD_DENY not in (before, after) or len(alike) <= _MOST
        listed = alike if whole else [turn for turn in alike if logged and logged.of_turn(turn)]
        shown += listed
        if more := len(alike) - len(listed):
            left.append(
                f"  {'and ' if listed else ''}{_count(more, 'endpoint')}: {before} → {after} (--json lists them)"
            )
    head = ["endpoint", "before", "after"] + (["requests", "last"] if logged else [])
    rows = [_turn_row(turn, logged) for turn in shown]
    return "\n".join([*([table([head, *rows], "  ")] if rows else []), *left])


def _turn_row(turn: VerdictChange, logged: Logged | None) -> list[str]:
    row = [turn.endpoint.name, turn.before, turn.after]
    if logged is None:
        return row
    seen = logged.of_turn(turn)
    return [*row, str(seen.count), seen.last] if seen else [*row, "0", "-"]


def _summary(changes: Iterable[Change], logged: Logged | None) -> str:
    turns = [turn for change in changes for turn in change.turns]
    lost, gained = [turn for turn in turns if turn.lost], [turn for turn in turns if turn.gained]
    callers = len({turn.caller for turn in turns})
    if turns:
        text = f"{_count(len(turns), 'verdict')} of {_count(callers, 'caller')} would change: "
        text += f"{len(lost)} from let through to refused, {len(gained)} from refused to let through."
    else:
        text = "No verdict changes."
    if logged is not None:
        text += (
            f"\nOf {_count(logged.all.count, 'request')} logged from {logged.all.first} to {logged.all.last}, "
            f"{logged.count(turns)} would come to something else, {logged.count(lost)} would be refused that "
            f"{'was' if logged.count(lost) == 1 else 'were'} not."
        )
        if logged.unreadable:
            text += f" {_count(logged.unreadable, 'line')} could not be read."
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def facts(changes: Sequence[Change], logged: Logged | None) -> dict[str, Any]:
    """Everything as JSON can carry it."""
    turns = [turn for change in changes for turn in change.turns]
    lost = [turn for turn in turns if turn.lost]
    found: dict[str, Any] = {
        "verdicts": len(turns),
        "lost": len(lost),
        "gained": sum(turn.gained for turn in turns),
        "callers": [
            {
                "caller": change.caller,
                "change": change.kind,
                "settings": [asdict(setting) for setting in change.settings],
                "verdicts": [_turn_facts(turn, logged) for turn in change.turns],
            }
            for change in changes
        ],
        "against": None,
    }
    if logged is not None:
        found["against"] = {
            "requests": logged.all.count,
            "from": logged.all.first,
            "to": logged.all.last,
            "changed": logged.count(turns),
            "lost": logged.count(lost),
            "unreadable_lines": logged.unreadable,
        }
    return found


def _turn_facts(turn: VerdictChange, logged: Logged | None) -> dict[str, Any]:
    found: dict[str, Any] = {"endpoint": turn.endpoint.name, "before": turn.before, "after": turn.after}
    if logged is not None:
        seen = logged.of_turn(turn)
        found |= {"requests": seen.count if seen else 0, "last": seen.last if seen else None}
    return found
