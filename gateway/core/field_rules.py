"""Which header fields cross, in either direction: one table of rules by field name, for requests and for answers."""

from collections.abc import Collection, Iterable
from enum import Enum
from typing import Final


class Rule(Enum):
    """What happens to a field: it crosses, is dropped, or is refused (dropped and counted). Its value may be read."""

    KEEP = "keep"
    DROP = "drop"
    REFUSE = "refuse"
    READ = "read"
    READ_AND_KEEP = "read and keep"


# RFC 9110 section 7.6.1, with the obsolete names that RFC 2616 and practice add; framing, which is written anew;
# and `Expect` (section 10.1.1), which the gateway answers itself. Clients send them without meaning the upstream.
_HOP_BY_HOP: Final = (
    b"connection", b"content-length", b"expect", b"host", b"http2-settings", b"keep-alive", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"via",
)  # fmt: skip
# What a request may say to Productlane: how its content is written, which answer the client can use and has already,
# and who asks for what, for logs. Anything else could route the request, or speak for another, at some framework
# behind the upstream's name. `Range` is not among them: by slices an echoed secret could not be recognised.
_REQUEST_FIELDS: Final = (
    b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"baggage", b"content-digest",
    b"content-disposition", b"content-encoding", b"content-language", b"content-md5", b"content-type", b"digest",
    b"idempotency-key", b"if-match", b"if-modified-since", b"if-none-match", b"if-unmodified-since", b"repr-digest",
    b"traceparent", b"tracestate", b"user-agent", b"x-correlation-id", b"x-request-id",
)  # fmt: skip
# What an answer may say to a caller: its content, how long it is good for, where to go on, and limits. Not among them:
# cookies, which callers of one key would share; what speaks of the upstream's host (HSTS, `Alt-Svc`), allows web pages
# to read it (CORS) or instructs a web server in front (`X-Accel-*`, `X-Sendfile`).
_ANSWER_FIELDS: Final = (
    b"age", b"allow", b"cache-control", b"content-digest", b"content-disposition", b"content-encoding",
    b"content-language", b"content-location", b"content-md5", b"content-type", b"deprecation", b"digest", b"etag",
    b"expires", b"idempotency-replayed", b"last-modified", b"link", b"location", b"pragma", b"repr-digest", b"server",
    b"sunset", b"vary", b"warning", b"www-authenticate", b"x-content-type-options", b"x-correlation-id",
)  # fmt: skip
_ANSWER_PREFIXES: Final = (b"ratelimit", b"x-ratelimit-", b"x-productlane-")

# Read by the gateway itself, of a request and of an answer.
_READ_OF_REQUESTS: Final = (
    b"authorization", b"connection", b"content-length", b"expect", b"host", b"origin", b"sec-fetch-site",
    b"transfer-encoding", b"upgrade", b"via",
)  # fmt: skip
_READ_OF_ANSWERS: Final = (b"connection", b"content-length", b"transfer-encoding")
_READ_AND_KEPT_OF_ANSWERS: Final = (
    b"Date", b"Retry-After", b"X-RateLimit-Limit", b"X-RateLimit-Remaining", b"X-RateLimit-Reset", b"X-Request-Id",
)  # fmt: skip

# What refused fields of requests are counted as. A name is of the first class that fits.
FIELD_CLASSES: Final = ("credential", "forwarding", "underscore", "range", "other")
_CREDENTIAL_WORDS: Final = (b"authorization", b"cookie", b"credential", b"passwd", b"password", b"secret", b"session")
_FORWARDING: Final = (b"forwarded", b"x-forwarded", b"x-original-", b"x-real-ip", b"x-rewrite-url", b"client-ip")


class Rules(dict[bytes, tuple[Rule, bytes]]):
    """The rule of a field with its name in lower case, by its name in any letter case. Names that are not in the table
    are not remembered, so that callers cannot fill the memory.

    It is made of names with their rule; of several rules for a name, the last counts.
    """

    def __init__(self, *named: tuple[Iterable[bytes], Rule]) -> None:
        pairs = [(name, rule) for names, rule in named for name in names]
        ruled = {name.lower(): (rule, name.lower()) for name, rule in pairs}
        for name, _ in pairs:
            low = name.lower()
            # The usual spellings, so that looking them up takes one step.
            self[low] = self[low.title()] = self[name] = ruled[low]

    def __missing__(self, name: bytes) -> tuple[Rule, bytes]:
        low = name.lower()
        return (self.unlisted(low), low) if low == name else self[low]

    def unlisted(self, low: bytes) -> Rule:  # noqa: ARG002 - others look at it
        """The rule for a lower-case name that the table does not have."""
        return Rule.REFUSE


class _AnswerRules(Rules):
    def unlisted(self, low: bytes) -> Rule:
        return Rule.KEEP if low.startswith(_ANSWER_PREFIXES) else Rule.DROP


def request_rules(more: Collection[str] = (), *, traced: bool = False) -> Rules:
    """The rules for requests, in which the fields of these names cross as well.

    Where requests are ``traced``, W3C Trace Context is left out: each attempt has its own.
    """
    return Rules(
        (_REQUEST_FIELDS, Rule.KEEP),
        ((name.encode() for name in more), Rule.KEEP),
        (_HOP_BY_HOP, Rule.DROP),
        ((b"traceparent", b"tracestate") if traced else (), Rule.DROP),
        (_READ_OF_REQUESTS, Rule.READ),
    )


def answer_rules(more: Collection[str] = ()) -> Rules:
    """The rules for answers, in which the fields of these names cross as well."""
    return _AnswerRules(
        (_ANSWER_FIELDS, Rule.KEEP),
        ((name.encode() for name in more), Rule.KEEP),
        (_HOP_BY_HOP, Rule.DROP),
        (_READ_AND_KEPT_OF_ANSWERS, Rule.READ_AND_KEEP),
        (_READ_OF_ANSWERS, Rule.READ),
    )


def never_crosses(name: str) -> bool:
    """Whether no setting lets a field cross, in either direction: one of the hop, or one that the gateway reads."""
    low = name.lower().encode()
    return low in _HOP_BY_HOP or low in _READ_OF_REQUESTS or low in (b"cookie", b"set-cookie")


def field_class(name: bytes) -> str:
    """What a refused field is counted as; one of `FIELD_CLASSES`."""
    low = name.lower()
    if any(word in low for word in _CREDENTIAL_WORDS) or low.startswith(b"x-auth") or low.endswith((b"token", b"key")):
        return "credential"
    if any(part in low for part in _FORWARDING):
        return "forwarding"
    if b"_" in low:
        return "underscore"
    return "range" if low in (b"range", b"if-range") else "other"
