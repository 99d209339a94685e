"""What libraries log, as events that cannot hold what a caller sent.

aiohttp logs a parser's error with the offending line, be it an ``Authorization``, and exceptions of its client hold the
request's headers. So neither a record's text nor an exception's is ever read: only where it came from, and its type.
"""

import logging
import traceback
from collections.abc import Callable
from pathlib import PurePath
from types import TracebackType

from gateway.telemetry.event import Level
from gateway.telemetry.events.process import LibraryRecord
from gateway.telemetry.log import Log


def capture_library_logs(log: Log) -> Callable[[], None]:
    """Send what reaches `logging`'s root to ``log``, as ``library`` events, in place of whatever handled it.

    An event holds the logger's name and where it logged (``aiohttp/web_protocol.py:431``), or for an exception its type
    and where it was raised. Warnings and above only: below, libraries write many lines without a fact. What is returned
    undoes it.
    """
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    root.handlers[:] = [_ToEvents(log)]
    root.setLevel(logging.WARNING)

    def restore() -> None:
        root.setLevel(before[0])
        root.handlers[:] = before[1]

    return restore


class _ToEvents(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        place = _place_of(record.pathname, record.lineno)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            place = _raised_at(error.__traceback__) or place
        kind = None if error is None else type(error).__name__
        self._log.event(LibraryRecord(_level(record.levelno), record.name, kind, place))


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"


def _raised_at(trace: TracebackType | None) -> str:
    frames = list(traceback.walk_tb(trace))
    return _place_of(frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else ""


def _place_of(path: str, line: int) -> str:
    return f"{'/'.join(PurePath(path).parts[-2:])}:{line}"
