"""The request target, read once. What two servers could read differently is refused, never repaired."""

import re
from typing import Final, NamedTuple

from gateway.core.limits import Limit
from gateway.core.refusal import Code, Reason, Refused

BASE: Final = "/api/v2"
_V1: Final = ("api", "v1")
_V1_BASE: Final = "/api/v1/"
MAX_TARGET: Final = 8192

# RFC 3986 section 6.2.2 lists what servers may normalise: percent-encoding, case, dot segments. `//`, `\`, `;` and
# encoded slashes are read differently again by common frameworks. None of them occurs in this API, whose segments
# are plain words and ids, so one small alphabet is enough and everything else is refused.
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]{1,128})+")

_NOT_IN_PATH: Final = re.compile(r"[^A-Za-z0-9._~/-]")
_METHOD: Final = re.compile(r"[A-Za-z]{1,20}")

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
    def is_v1(self) -> bool:
        """Whether it is of version 1 of the API, which is never forwarded."""
        return self.segments[:2] == _V1

    @property
    def judged_method(self) -> str:
        """HEAD is judged as GET (RFC 9110 section 9.3.2: the same without the content)."""
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
    if path.startswith(_V1_BASE) and _QUERY.fullmatch(path):
        # Refused whatever else it holds, so nothing in it can be read in two ways; the refusal names its replacement.
        return Target(method, path, tuple(path[1:].split("/")))
    if not _PATH.fullmatch(path):
        raise _bad(_why_not(path))
    # It is dropped by servers on Windows file systems, and it is what `.` and `..` have in common.
    if "./" in path or path.endswith("."):
        raise _bad("its path holds a segment that ends in `.`")
    if mark and not _QUERY.fullmatch(query):
        raise _bad("its query holds a space, a control character or a `#`")
    return Target(method, raw, tuple(path[1:].split("/")))


def _why_not(path: str) -> str:
    """What in a path is not in the alphabet."""
    found = _NOT_IN_PATH.search(path)
    if found is not None:
        return f"its path holds {_character(found[0])}; a segment may hold only A-Z a-z 0-9 `.` `_` `~` `-`"
    if path.endswith("/"):
        return "its path ends in `/`, which must be left out"
    return "a segment of its path is empty or longer than 128 characters"


def _character(character: str) -> str:
    """A character as a sentence can show it."""
    if character == "%":
        return "`%`, which encodes a character"
    return f"`{character}`" if "!" <= character <= "~" else f"the character U+{ord(character):04X}"


def legible(method: str) -> str:
    """A method as a sentence can show it: any token is a method to HTTP, and a sentence shows no odd ones."""
    return f"`{method}`" if _METHOD.fullmatch(method) else "of this name"


def target_too_long() -> Refused:
    """The target is over `MAX_TARGET`."""
    message = f"The request target is longer than {MAX_TARGET} characters."
    return Refused(Code.URI_TOO_LONG, Reason.TARGET, message, limit=Limit.TARGET_SIZE)


def _bad(why: str) -> Refused:
    message = f"The request target could be read in more than one way: {why}."
    return Refused(Code.INVALID_REQUEST, Reason.TARGET, message)


# For an `Ask` that is about no single request.
NO_TARGET: Final = Target("", "", ())
