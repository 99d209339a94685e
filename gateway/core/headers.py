"""Which header fields cross, in either direction: one table of rules by field name, for requests and for answers.

Both heads are rebuilt from these rules; none is copied through.
"""

from collections.abc import Collection, Iterable
from enum import Enum
from typing import Final

from gateway.core.refusal import PSEUDONYM, Code, Reason, Refused
from gateway.core.secret import Secret

VIA: Final = f"1.1 {PSEUDONYM}"


class Rule(Enum):
    """What becomes of a field: it crosses, it is dropped, or its value is read (and dropped, or crosses as well)."""

    KEEP = "keep"
    DROP = "drop"
    READ = "read"
    READ_AND_KEEP = "read and keep"


# RFC 9110 section 7.6.1, with the obsolete names that RFC 2616 and practice add; framing, which is written anew;
# and `Expect` (section 10.1.1), which the gateway answers itself.
_HOP_BY_HOP: Final = (
    b"connection",
    b"content-length",
    b"expect",
    b"http2-settings",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)

# What a caller could use to speak in another's name, to another host, or with another method. Common frameworks
# believe each of these from whoever is in front of them.
_SPOOFABLE: Final = (
    b"cf-connecting-ip",
    b"fastly-client-ip",
    b"forwarded",
    b"host",
    b"proxy",
    b"proxy-authenticate",
    b"true-client-ip",
    b"via",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-host",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-originating-ip",
    b"x-real-ip",
    b"x-rewrite-url",
)
_SPOOFABLE_PREFIXES: Final = (b"x-forwarded", b"x-original-", b"x-remote-", b"x-envoy-")

# Productlane's API documents no field of its own for requests, so a word is enough to drop one.
_CREDENTIAL_WORDS: Final = (b"authorization", b"cookie", b"credential", b"passwd", b"password", b"secret", b"session")

# Read by the gateway itself, of a request and of an answer.
_READ_OF_REQUESTS: Final = (
    b"authorization",
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"transfer-encoding",
    b"upgrade",
    b"via",
)
_READ_OF_ANSWERS: Final = (b"connection", b"content-length", b"transfer-encoding")
_READ_AND_KEPT_OF_ANSWERS: Final = (
    b"date",
    b"retry-after",
    b"x-ratelimit-limit",
    b"x-ratelimit-remaining",
    b"x-ratelimit-reset",
    b"x-request-id",
)

# Set-Cookie: the callers of one key would share a session. Alt-Svc and HSTS speak of the upstream's host and would be
# taken as the gateway's.
_NOT_FOR_CALLERS: Final = (
    b"alt-svc",
    b"clear-site-data",
    b"proxy-authenticate",
    b"public-key-pins",
    b"set-cookie",
    b"set-cookie2",
    b"strict-transport-security",
)

# Names that are common in requests, so that their rule is found without making them lower-case first.
_COMMON: Final = (
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"baggage",
    b"cache-control",
    b"content-encoding",
    b"content-type",
    b"etag",
    b"idempotency-key",
    b"if-none-match",
    b"server",
    b"traceparent",
    b"tracestate",
    b"user-agent",
    b"vary",
    b"x-request-id",
)


class Rules(dict[bytes, Rule]):
    """The rule of a field, by its name in any spelling. Names that are not in the table are judged and not remembered.

    ``unlisted`` is the rule for a lower-case name that the table does not have.
    """

    def __missing__(self, name: bytes) -> Rule:
        low = name.lower()
        return self.unlisted(low) if low == name else self[low]

    def unlisted(self, low: bytes) -> Rule:
        raise NotImplementedError

    def spelled(self) -> None:
        """Add the usual spelling of each name, so that looking it up takes one step."""
        for low in [*self]:
            self[low.title()] = self[low]


class _RequestRules(Rules):
    def unlisted(self, low: bytes) -> Rule:
        """``_`` is refused whole: CGI-style servers read X_Api_Key as X-Api-Key."""
        drop = b"_" in low or low.startswith(_SPOOFABLE_PREFIXES) or _is_credential(low)
        return Rule.DROP if drop else Rule.KEEP


class _AnswerRules(Rules):
    def unlisted(self, low: bytes) -> Rule:  # noqa: ARG002 - all others cross
        return Rule.KEEP


def _is_credential(low: bytes) -> bool:
    """Whether a lower-case field name, by the words in it, carries a credential or a session."""
    return low != b"idempotency-key" and (
        any(word in low for word in _CREDENTIAL_WORDS) or low.startswith(b"x-auth") or low.endswith((b"token", b"key"))
    )


def request_rules(*, traced: bool = False) -> Rules:
    """The rules for requests. Where they are ``traced``, W3C Trace Context is left out: each attempt has its own."""
    rules = _RequestRules(dict.fromkeys(_COMMON, Rule.KEEP))
    rules.update(dict.fromkeys((*_HOP_BY_HOP, *_SPOOFABLE), Rule.DROP))
    if traced:
        rules.update(dict.fromkeys((b"traceparent", b"tracestate"), Rule.DROP))
    rules.update(dict.fromkeys(_READ_OF_REQUESTS, Rule.READ))
    rules.spelled()
    return rules


def answer_rules() -> Rules:
    """The rules for answers."""
    rules = _AnswerRules(dict.fromkeys(_COMMON, Rule.KEEP))
    rules.update(dict.fromkeys((*_HOP_BY_HOP, *_NOT_FOR_CALLERS), Rule.DROP))
    rules.update(dict.fromkeys(_READ_AND_KEPT_OF_ANSWERS, Rule.READ_AND_KEEP))
    rules.update(dict.fromkeys(_READ_OF_ANSWERS, Rule.READ))
    rules.spelled()
    return rules


class Fields:
    """A head's fields after the one walk over them.

    ``lines`` are those that cross, as ``name: value`` without line breaks, in their order. ``read`` are the values of
    those that the gateway reads, by lower-case name. ``size`` is what the fields take in a head, in bytes.
    """

    __slots__ = ("lines", "read", "size")

    def __init__(self, lines: list[bytes], read: dict[bytes, list[bytes]], size: int) -> None:
        self.lines = lines
        self.read = read
        self.size = size


def walk(fields: Iterable[tuple[bytes, bytes]], rules: Rules) -> Fields:
    """Go over a head's fields once. What ``Connection`` names stays behind (RFC 9110 section 7.6.1)."""
    lines: list[bytes] = []
    read: dict[bytes, list[bytes]] = {}
    size = 0
    keep, drop, read_and_keep = Rule.KEEP, Rule.DROP, Rule.READ_AND_KEEP
    for name, value in fields:
        size += len(name) + len(value) + 4
        rule = rules[name]
        if rule is drop:
            continue
        if rule is keep or rule is read_and_keep:
            lines.append(name + b": " + value)
        if rule is not keep:
            low = name.lower()
            if low in read:
                read[low].append(value)
            else:
                read[low] = [value]
    if b"connection" in read and (named := tokens(read[b"connection"]) - _CONNECTION_OPTIONS):
        lines = [line for line in lines if line.partition(b":")[0].lower() not in named]
    return Fields(lines, read, size)


_CONNECTION_OPTIONS: Final = frozenset({b"close", b"keep-alive", b""})


def tokens(values: Collection[bytes]) -> set[bytes]:
    """The members of a list field, in lower case (of ASCII letters alone)."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def upstream_fields(secret: Secret) -> list[tuple[str, str]]:
    """What every request to the upstream carries, by whichever way it is sent: the gateway's name and the key."""
    return [("Via", VIA), ("Authorization", f"Bearer {secret.reveal()}")]


def upstream_lines(secret: Secret) -> bytes:
    """`upstream_fields` as the lines of a head, with their line breaks."""
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in upstream_fields(secret))


def check_via(values: Iterable[bytes]) -> None:
    """Refuse what no rule may repair: a request that has passed this gateway before (RFC 9110 section 7.6.3).

    Raises `Refused` ``loop_detected``.
    """
    if any(PSEUDONYM.encode() in value.lower() for value in values):
        raise Refused(
            Code.LOOP_DETECTED,
            Reason.LOOP,
            "This request has already passed this gateway.",
            note="the upstream leads back to a gateway",
        )
