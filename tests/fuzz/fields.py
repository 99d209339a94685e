"""Header rules: any fields of a caller give one head upstream, with one key and no forged field."""

import re
from typing import Final

import h11

from gateway.core.field_rules import answer_rules, request_rules
from gateway.core.headers import VIA, upstream_lines, walk
from gateway.core.message import Malformed, write_head
from gateway.core.secret import Secret
from tests.support.fuzzing import run

KEY: Final = "pl_v2_abcd1234efgh5678"
SEEDS: Final = (
    b"X: a\nConnection: x, authorization, via\nAuthorization: Bearer y",
    b"Content_Length: 5\nTransfer-Encoding: chunked\nHost: evil\nCookie: a",
    b"x-forwarded-for: 1\nX-HTTP-Method-Override: DELETE\nx: \xff\r\nproxy_authorization: z",
    b"Accept: a\r\nUser-Agent: b\0\nX-Request-Id: c",
)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Fields that must never reach the upstream, by the name as a server reads it that takes `_` for `-`.
_NEVER: Final = frozenset(
    {
        "connection", "content-length", "cookie", "expect", "forwarded", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-api-key", "x-forwarded-for",
        "x-http-method-override", "x-original-url", "x-real-ip",
    }
)  # fmt: skip


def check(data: bytes) -> None:
    """Each line is ``name: value``, if the listener's parser accepts its name."""
    lines = [line.partition(b":") for line in data.split(b"\n")]
    given = [name + b": " + value.strip(b" \t") for name, colon, value in lines if colon and _TOKEN.fullmatch(name)]
    kept = walk(given, request_rules()).lines
    names = {line.partition(b":")[0].lower().replace(b"_", b"-").decode() for line in kept}
    assert not names & (_NEVER | {"authorization", "via"})
    assert kept == [line for line in given if line in kept]
    assert all(line in given for line in walk(given, answer_rules()).lines)
    _is_one_head(kept)


def _is_one_head(lines: list[bytes]) -> None:
    """h11 reads back the written fields, our own and the framing, or nothing was written."""
    own = upstream_lines(Secret(KEY))
    assert f"Via: {VIA}\r\nAuthorization: Bearer {KEY}\r\n".encode() == own
    try:
        head = write_head("POST", b"/api/v2/threads", b"upstream.test", lines, own, 0)
    except Malformed:
        return
    assert not any(byte in b"\r\n\0" for line in lines for byte in line)
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(head)
    try:
        request = reader.next_event()
    except h11.RemoteProtocolError:
        # Control characters: the parser in front of the rules accepts none.
        assert any(byte < 0x20 or byte == 0x7F for line in lines for byte in line.partition(b":")[2])
        return
    assert isinstance(request, h11.Request)
    assert len(lines) + 4 == len(list(request.headers))
    assert isinstance(reader.next_event(), h11.EndOfMessage)


if __name__ == "__main__":
    run(check, SEEDS)
