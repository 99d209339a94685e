"""What a check finds."""

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad a finding is, the mildest first: the exit status is the place of the worst."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """One thing that was looked at. ``fix`` says how to mend it; empty where nothing is wrong."""

    check: str
    severity: Severity
    what: str
    fix: str = ""


def ok(check: str, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Severity.OK, what)


def warning(check: str, what: str, fix: str) -> Finding:
    """It serves, and somebody should look."""
    return Finding(check, Severity.WARNING, what, fix)


def error(check: str, what: str, fix: str) -> Finding:
    """Requests fail, or the gateway does not start."""
    return Finding(check, Severity.ERROR, what, fix)
