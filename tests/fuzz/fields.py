"""Header rules: whatever fields a caller sends, one head goes upstream, with one key and nothing of another's voice."""

import re
from typing import Final

import h11

from gateway.core.headers import VIA, request_headers, response_headers
from gateway.core.message import Malformed, write_head
from gateway.core.secret import Secret
from tests.fuzz.harness import run

KEY: Final = "pl_v2_abcd1234efgh5678"
SEEDS: Final = (
    b"X: a\nConnection: x, authorization, via\nAuthorization: Bearer y",
    b"Content_Length: 5\nTransfer-Encoding: chunked\nHost: evil\nCookie: a",
    b"x-forwarded-for: 1\nX-HTTP-Method-Override: DELETE\nx: \xff\r\nproxy_authorization: z",
)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What may never go on, by the name as a server reads it that takes `_` for `-`.
_NEVER: Final = frozenset(
    {
        "connection", "content-length", "cookie", "expect", "forwarded", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-api-key", "x-forwarded-for",
        "x-http-method-override", "x-original-url", "x-real-ip",
    }
)  # fmt: skip


def check(data: bytes) -> None:
    """Each line is ``name: value``, as far as its name is one that the listener's parser lets through."""
    lines = [line.partition(b":") for line in data.split(b"\n")]
    pairs = [
        (name.decode("ascii"), value.strip(b" \t").decode("utf-8", "surrogateescape"))
        for name, colon, value in lines
        if colon and _TOKEN.fullmatch(name)
    ]
    out = request_headers(pairs, Secret(KEY))
    assert [("Via", VIA), ("Authorization", f"Bearer {KEY}")] == out[-2:]
    kept = out[:-2]
    assert not any(name.lower().replace("_", "-") in _NEVER | {"authorization", "via"} for name, _ in kept)
    assert kept == [pair for pair in pairs if pair in kept]
    assert all(pair in pairs for pair in response_headers(pairs))
    _is_one_head(out)


def _is_one_head(out: list[tuple[str, str]]) -> None:
    """Written out, the fields are read back by h11 as these and the framing, or are not written at all."""
    try:
        head = write_head("POST", "/api/v2/threads", "upstream.test", out, 0)
    except Malformed:
        return
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(head)
    try:
        request = reader.next_event()
    except h11.RemoteProtocolError:
        # Control characters: the parser that is in front of the rules lets none through.
        assert any(ord(char) < 0x20 or ord(char) == 0x7F for _, value in out for char in value)
        return
    assert isinstance(request, h11.Request)
    assert len(out) + 2 == len(list(request.headers))
    assert isinstance(reader.next_event(), h11.EndOfMessage)


if __name__ == "__main__":
    run(check, SEEDS)
