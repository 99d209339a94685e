"""The property of every target: the caller may do what it forwards, however a server reads it."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.core.catalog import Endpoint
from gateway.core.decision import granted
from gateway.core.policy import Policy

# How often a chain of servers may decode, and how often anything else is applied to what came of it.
_ROUNDS: Final = 3
_BASE: Final = b"/api/v2"


def readings(target: bytes) -> set[bytes]:
    """Every path that some server is known to read from a target; any step may follow any other."""
    found: set[bytes] = set()
    pending = {target}
    for _ in range(_ROUNDS + 1):
        found |= pending
        pending = {step(path) for path in pending for step in _STEPS} - found
    return {path.split(b"?")[0] for path in found | pending}


def _decode(path: bytes) -> bytes:
    return unquote_to_bytes(path)


def _decode_iis(path: bytes) -> bytes:
    return re.sub(rb"%u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)).encode("utf-8", "surrogatepass"), path)


def _overlong(path: bytes) -> bytes:
    """UTF-8 as a decoder reads it that does not ask for the shortest form (RFC 3629 section 10)."""
    path = re.sub(rb"\xc0([\x80-\xbf])", lambda m: bytes([m[1][0] & 0x3F]), path)
    path = re.sub(rb"\xc1([\x80-\xbf])", lambda m: bytes([m[1][0] & 0x3F | 0x40]), path)
    return re.sub(rb"\xe0([\x80\x81])([\x80-\xbf])", lambda m: bytes([(m[1][0] & 1) << 6 | m[2][0] & 0x3F]), path)


def _compatible(path: bytes) -> bytes:
    return unicodedata.normalize("NFKC", path.decode("utf-8", "replace")).encode("utf-8", "replace")


def _resolve(path: bytes) -> bytes:
    """Dot segments taken out (RFC 3986 section 5.2.4)."""
    kept: list[bytes] = []
    for segment in path.split(b"?")[0].split(b"/")[1:]:
        if segment == b"..":
            kept = kept[:-1]
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(kept)


def _origin(path: bytes) -> bytes:
    """The path of an absolute URL, or of ``//host/path``."""
    return re.sub(rb"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*", b"", path)


_STEPS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    _decode,
    _decode_iis,
    _overlong,
    _compatible,
    _resolve,
    _origin,
    lambda path: re.sub(rb"/{2,}", b"/", path),
    lambda path: path.replace(b"\\", b"/"),
    lambda path: re.sub(rb";[^/]*", b"", path),
    lambda path: re.split(rb"[\x00\r\n#]", path)[0],
    lambda path: re.sub(rb"[\x00-\x20\x7f]", b"", path),
    lambda path: re.sub(rb"[ .]+(?=/|$)", b"", path),
    lambda path: path.rstrip(b"/"),
    bytes.lower,
)


def named(method: str, path: bytes, endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """The endpoint of a path, found the slow and obvious way: of all that fit, the one with the most literals."""
    if not path.startswith(_BASE + b"/"):
        return None
    segments = path[len(_BASE) + 1 :].decode("latin-1").split("/")
    fitting = [
        endpoint
        for endpoint in endpoints
        if endpoint.method == ("GET" if method == "HEAD" else method)
        and len(endpoint.segments) == len(segments)
        and all(_is_id(known) or known == given for known, given in zip(endpoint.segments, segments, strict=True))
        and all(segments)
    ]
    return max(fitting, key=lambda endpoint: [not _is_id(known) for known in endpoint.segments], default=None)


def _is_id(segment: str) -> bool:
    return segment.startswith("{")


def escapes(method: str, target: bytes, policy: Policy, endpoints: Iterable[Endpoint], today: date) -> list[bytes]:
    """The readings of a forwarded target that are forbidden to this caller; empty if the property holds."""
    found = []
    for path in readings(target):
        endpoint = named(method, path, endpoints)
        if endpoint is None or not granted(policy, endpoint, today).allows:
            found.append(path)
    return found
