"""The log: one line for each request and each event."""

import time
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from msgspec import structs

from gateway.core.key_faults import KeyFault
from gateway.telemetry import labels
from gateway.telemetry.event import LEVELS, Event, Level
from gateway.telemetry.lines import Lines
from gateway.telemetry.record import Record

# What Productlane answers where it refuses the gateway's own key.
_KEY_STATUSES: Final = frozenset(fault.status for fault in KeyFault if fault.status is not None)


class Log:
    """Writes to a file descriptor, and never makes a request wait or fail: see `Lines` for what happens to lines then.

    A request's line is ``info``; ``error`` for a 5xx of the gateway; ``warning`` for one of Productlane, and for its
    401 or 410, which are about the gateway's own key. ``clock`` gives Unix time. `close` when done.
    """

    def __init__(
        self,
        fd: int = 1,
        *,
        level: Level = "info",
        style: Literal["json", "console"] = "json",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.level: Final = level
        self._lines: Final = Lines(fd)
        self._clock = clock
        self._shown: Final[frozenset[Level]] = frozenset(LEVELS[LEVELS.index(level) :])
        self._console = style == "console"
        self._second = -1
        self._stamp = ""
        self._encode = msgspec.json.Encoder().encode

    @property
    def dropped(self) -> int:
        """Lines lost because their reader or disk did not take them."""
        return self._lines.dropped

    @property
    def debug(self) -> bool:
        """Whether lines of the level ``debug`` are written."""
        return "debug" in self._shown

    def request(self, record: Record) -> None:
        """Tell of a finished request, once. Fills in its ``time`` and ``level``."""
        level = record.level = _level_of(record)
        if level not in self._shown:
            return
        record.time = self._now()
        if self._console:
            self._lines.put(_console_line(record.time, level, _request_sentence(record)))
            return
        if record.code:
            record.code = labels.listed_code(record.code)
        try:
            line = self._encode(record)
        except UnicodeEncodeError:
            line = self._encode(_utf8(_encodable(record)))
        self._lines.put(line + b"\n")

    def event(self, event: Event) -> None:
        """Write the line of an event, where it has one."""
        level = event.severity()
        if level is None or level not in self._shown:
            return
        if self._console:
            told = " ".join(f"{name}={value}" for name, value in event.fields().items())
            self._lines.put(_console_line(self._now(), level, f"{event.name}  {told}"))
        else:
            self._put({"time": self._now(), "level": level, "event": event.name, **event.fields()})

    def close(self, timeout: float = 1.0) -> None:
        """Write what is held, blocking for at most ``timeout`` seconds."""
        self._lines.close(timeout)

    def _put(self, fields: dict[str, Any]) -> None:
        try:
            line = self._encode(fields)
        except UnicodeEncodeError:
            line = self._encode(_utf8(fields))
        self._lines.put(line + b"\n")

    def _now(self) -> str:
        """RFC 3339 in UTC with milliseconds. The part before the dot is made once a second."""
        ms = int(self._clock() * 1000)
        second = ms // 1000
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            # Last: other threads tell events too.
            self._second = second
        return f"{self._stamp}.{ms % 1000:03d}Z"


def _level_of(record: Record) -> Level:
    if record.source == "upstream":
        if record.status < 400:
            return "warning" if record.code else "info"  # With a code, it was cut short.
        return "warning" if record.status >= 500 or record.status in _KEY_STATUSES else "info"
    return "error" if record.status >= 500 else "info"


def _request_sentence(record: Record) -> str:
    asked = record.endpoint if record.endpoint != "other" else f"{record.method} (no endpoint)"
    parts = [f"{record.status:3d} {asked}", f"caller {record.caller}{f' from {record.peer}' if record.peer else ''}"]
    if record.decision:
        parts.append(f"{record.decision}: {record.reason}")
    if record.key:
        parts.append(f"key {record.key}/{record.slot}")
    upstream = "" if record.upstream_ms is None else f" ({record.upstream_ms:.1f} upstream)"
    parts += [f"{record.duration_ms:.1f} ms{upstream}", record.request_id]
    if record.caller_request_id:
        parts.append(f"caller's id {record.caller_request_id}")
    if record.note:
        parts.append(record.note)
    return "  ".join(parts)


def _console_line(now: str, level: Level, sentence: str) -> bytes:
    """One line for a terminal: whatever could move the cursor or begin another line is shown as ``?``."""
    text = f"{now[11:23]} {level.upper():7} {sentence}"
    return ("".join(c if c.isprintable() else "?" for c in text) + "\n").encode("utf-8", "replace")


def _encodable(record: Record) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(record).items() if value is not msgspec.UNSET}


def _utf8(value: Any) -> Any:
    """Bytes outside UTF-8 reach Python as lone surrogates, which JSON cannot carry; they become ``?``."""
    if isinstance(value, dict):
        return {name: _utf8(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_utf8(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
