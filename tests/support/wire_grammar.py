"""Random messages from a seed: targets of the pieces that have fooled proxies, and messages with a byte of damage."""

from random import Random
from typing import Final

from tests.support.rows import HIDDEN

# The 54 pieces that make up targets: this API's words, and what servers are known to read in more than one way.
TOKENS: Final = [
    b"/", b"//", b"/.", b"/..", b".", b"..", b"...", b"/api/v2", b"api", b"v2", b"v1", b"threads", b"Threads",
    b"contacts", b"companies", b"by-email", b"By-Email", b"by%2Demail", b"th_1", b"messages", b"{id}", b"%2e",
    b"%2E%2e", b"%252e", b"%25252e", b"%%32%65", b"%2f", b"%2F", b"%252f", b"%5c", b"\\", b"%00", b"\x00", b"%0d%0a",
    b"\n", b"%09", b"%20", b" ", b";", b";a=b", b"..;", b"%3b", b"#", b"%23", b"?", b"%3f", b"?next=/../", b"%c0%ae",
    b"%c0%af", b"%ef%bc%8e", b"\xef\xbc\x8f", b"%u002e", b"@evil.test", b"http://evil.test",
]  # fmt: skip
STARTS: Final = [b"/api/v2/threads", b"/api/v2/threads/th_1", b"/api/v2/contacts/c_1", b"/api/v2/", b"/", b""]
METHODS: Final = [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PATCH", b"DELETE"]


def target(random: Random) -> bytes:
    """A target: a start that is often good, pieces behind it, and perhaps one in the middle."""
    made = random.choice(STARTS) + b"".join(random.choices(TOKENS, k=random.choice((0, 1, 1, 2, 3, 6))))
    if random.random() < 0.2:
        made = made.replace(b"/", b"/" + random.choice(TOKENS), random.randint(1, 2))
    if random.random() < 0.3:
        made += b"/" + random.choice(TOKENS)
    return made


def message(random: Random) -> bytes:
    """A request for a random target, the last of its connection."""
    return b"%b %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (random.choice(METHODS), target(random))


_LENGTH: Final = b"Content-Length: %d\r\n\r\n" % len(HIDDEN)
_POST: Final = b"POST /api/v2/threads HTTP/1.1\r\nHost: a\r\nX-Field: value\r\n"
# The four shapes of a body: none, with a length, in chunks, in chunks with extensions and a trailer. A body contains
# a request that this caller may not make.
SHAPES: Final = [
    b"GET /api/v2/threads/th_1 HTTP/1.1\r\nHost: a\r\nX-Field: value\r\n\r\n",
    _POST + _LENGTH + HIDDEN,
    _POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
    _POST
    + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n%x\r\n%b\r\n0;c\r\nX-Trailer: y\r\n\r\n"
    % (len(HIDDEN), HIDDEN),
]
# The bytes that have split messages before come as often as all others.
_TELLING: Final = b'\r\n \t:;,0159afAx+-_\x00\x0b\x0c\x7f\x80\xa0\xff"\\/#?'
# After the message: a request that ends the connection, and long enough to fill any length that a damaged byte can
# make, so that every message ends by itself.
_AFTER: Final = b"GET /api/v2/threads/after HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Pad: %b\r\n\r\n" % (
    b"a" * 12_000
)


def damaged(random: Random) -> bytes:
    """One of the shapes with one byte inserted, removed or changed, mostly in its framing; sometimes two."""
    made = bytearray(random.choice(SHAPES))
    for _ in range(random.choice((1, 1, 1, 2))):
        end = made.find(b"\r\n\r\n") + 4
        told = max(made.find(b"Content-Length"), made.find(b"Transfer-Encoding"), 0)
        at = random.choice((random.randrange(end), random.randrange(told, end), random.randrange(len(made))))
        byte = random.choice((random.choice(_TELLING), random.randrange(256)))
        match random.choice(("insert", "remove", "change")):
            case "insert":
                made.insert(at, byte)
            case "remove":
                del made[at]
            case _:
                made[at] = byte
    return bytes(made) + _AFTER
