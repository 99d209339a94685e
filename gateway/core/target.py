"""The request target, read once. What two servers could read differently is refused, never repaired."""

import re
from typing import Final, NamedTuple

from gateway.core.refusal import Code, Reason, Refused

BASE: Final = "/api/v2"
MAX_TARGET: Final = 8192

# RFC 3986 section 6.2.2 lists what servers may normalise: percent-encoding, case, dot segments. `//`, `\`, `;` and
# encoded slashes are read differently again by common frameworks. None of them occurs in this API, whose segments
# are plain words and ids, so one small alphabet is enough and everything else is refused.
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]{1,128})+")

# RFC 3986 section 3.4 and whatever browsers leave raw, but no controls, spaces or `#`. Kept byte for byte: bytes
# that are not UTF-8 come as lone surrogates and go out as the bytes they were.
_QUERY: Final = re.compile(r"[^\x00-\x20#\x7f]*")


class Target(NamedTuple):
    """A method and a raw target that can be read in one way only.

    ``raw`` is what the caller sent and what goes upstream; ``segments`` are those of its path.
    """

    method: str
    raw: str
    segments: tuple[str, ...]

    @property
    def judged_method(self) -> str:
        """HEAD is judged as GET (RFC 9110 section 9.3.2: identical but for the content)."""
        return "GET" if self.method == "HEAD" else self.method

    @property
    def below_base(self) -> str:
        """The raw target without ``/api/v2``: path and query, to be joined to the upstream's own base.

        Only a target that the catalog has found is known to begin so.
        """
        return self.raw[len(BASE) :]


def read_target(method: str, raw: str) -> Target:
    """Read a request target in origin-form (RFC 9112 section 3.2.1).

    Raises `Refused`: ``invalid_request`` for another form or an ambiguous path or query, ``uri_too_long``.
    """
    if len(raw) > MAX_TARGET:
        raise target_too_long()
    path, mark, query = raw.partition("?")
    if not path.startswith("/"):
        raise _bad("it must be a path that starts with `/`, as in `GET /api/v2/threads`")
    if not _PATH.fullmatch(path):
        raise _bad("its path may hold only segments of A-Z a-z 0-9 `.` `_` `~` `-`, at most 128 characters each")
    # It is dropped by servers on Windows file systems, and it is what `.` and `..` have in common.
    if "./" in path or path.endswith("."):
        raise _bad("its path holds a segment that ends in `.`")
    if mark and not _QUERY.fullmatch(query):
        raise _bad("its query holds a space, a control character or a `#`")
    return Target(method, raw, tuple(path[1:].split("/")))


def target_too_long() -> Refused:
    """The target is over `MAX_TARGET`."""
    return Refused(Code.URI_TOO_LONG, Reason.TARGET, f"The request target is longer than {MAX_TARGET} characters.")


def _bad(why: str) -> Refused:
    message = f"The request target could be read in more than one way: {why}."
    return Refused(Code.INVALID_REQUEST, Reason.TARGET, message)
