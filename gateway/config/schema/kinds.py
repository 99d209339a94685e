"""The kinds of value that the files of the gateway hold: durations, sizes, addresses, folders, sources."""

from datetime import date
from pathlib import Path
from typing import Final

from gateway.config.reading.kinds import Amount, Located, Text, Whole
from gateway.config.reading.names import in_folder
from gateway.config.reading.scalar import seconds, size
from gateway.config.schema.values import address, field_name
from gateway.config.secret_source import located

# One segment of a path template: literal, but not `.` or `..`, or a placeholder.
SEGMENT: Final = r"/(?:(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+|\{[A-Za-z0-9_]+\})"

# Both in seconds.
DURATION: Final = Text(
    "a duration such as 500ms, 5s, 2m, 1h or 7d", r"^(?:0|[1-9][0-9]{0,8})(?:ms|s|m|h|d)$", parse=seconds
)
# A time-out of zero would fail every request.
TIMEOUT: Final = Text(
    "a duration above zero such as 500ms, 5s, 2m, 1h or 7d", r"^[1-9][0-9]{0,8}(?:ms|s|m|h|d)$", parse=seconds
)
# In bytes.
SIZE: Final = Amount(
    Whole(1, 1 << 40),
    Text(
        "a size such as 16MiB or 500KiB, or a number of bytes",
        r"^[1-9][0-9]{0,8}(?:KiB|MiB|GiB|kB|MB|GB)$",
        parse=size,
    ),
)
LISTEN: Final = Located(
    "host:port, [IPv6]:port or unix:/path",
    r"^(?:unix:.+|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})$",
    locate=address,
)


def _file_of_source(source: str) -> Path | None:
    return Path(source.removeprefix("file:")) if source.startswith("file:") else None


def _hint_of_source(text: str) -> str:
    if text.startswith("pl_v"):
        return "a key; put it into a file that only the gateway can read, and name the file"
    return "a path; write `file:` before it" if text.startswith(("/", "./", "../")) else ""


FOLDER: Final = Located("the path of a folder", locate=in_folder)
_SOURCE: Final = r"^(?:file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$"
SOURCE: Final = Located(
    "file:/path or env:NAME (never the key itself)",
    _SOURCE,
    locate=located,
    file=_file_of_source,
    private=True,
    hint=_hint_of_source,
)
# Read whenever it is needed, so a change of its file is not a change of the configuration.
PASSWORD_SOURCE: Final = Located(
    "file:/path or env:NAME (never the password itself)", _SOURCE, locate=located, private=True
)
TOKEN_SOURCE: Final = Located("file:/path or env:NAME (never the token itself)", _SOURCE, locate=located, private=True)

# RFC 9110 section 5.1. CGI-style servers read `_` as `-`, so one name could pass for another.
FIELD_NAME: Final = Text(
    "the name of a header field such as X-Team, without `_`", r"^[!#$%&'*+.^`|~0-9A-Za-z-]{1,64}$", parse=field_name
)

SCOPE: Final = Text("a scope such as threads:read", parse=str)
ENDPOINT: Final = Text("a method and a path such as POST /companies/{id}/merge", r"^[A-Z]+ /\S*$", parse=str)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no such day as `{text}`") from None


DAY: Final = Text("a date such as 2027-01-01", r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", parse=_day, date=True)
