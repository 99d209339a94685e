"""Which header fields cross, in either direction. Both heads are rebuilt from these rules; none is copied through."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from gateway.core.refusal import PSEUDONYM, Code, Reason, Refused
from gateway.core.secret import Secret

VIA: Final = f"1.1 {PSEUDONYM}"

# RFC 9110 section 7.6.1, with the obsolete names that RFC 2616 and practice add; framing, which is written anew;
# and `Expect` (section 10.1.1), which the gateway answers itself.
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# What a caller could use to speak in another's name, to another host, or with another method. Common frameworks
# believe each of these from whoever is in front of them.
_SPOOFABLE: Final = frozenset(
    {
        "cf-connecting-ip",
        "fastly-client-ip",
        "forwarded",
        "host",
        "proxy",
        "proxy-authenticate",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-host",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-originating-ip",
        "x-real-ip",
        "x-rewrite-url",
    }
)
_SPOOFABLE_PREFIXES: Final = ("x-forwarded", "x-original-", "x-remote-", "x-envoy-")

# Productlane's API documents no field of its own for requests, so a word is enough to drop one.
_CREDENTIAL_WORDS: Final = ("authorization", "cookie", "credential", "passwd", "password", "secret", "session")

# W3C Trace Context: written anew where the gateway has spans of its own.
_TRACE: Final = frozenset({"traceparent", "tracestate"})

# Set-Cookie: the callers of one key would share a session. Alt-Svc and HSTS speak of the upstream's host and would be
# taken as the gateway's.
_NOT_FOR_CALLERS: Final = frozenset(
    {
        "alt-svc",
        "clear-site-data",
        "proxy-authenticate",
        "public-key-pins",
        "set-cookie",
        "set-cookie2",
        "strict-transport-security",
    }
)


@lru_cache(maxsize=1024)
def _crosses_upstream(name: str) -> bool:
    """Whether a caller's field goes upstream. ``_`` is refused whole: CGI-style servers read X_Api_Key as X-Api-Key."""
    low = name.lower()
    return not (
        "_" in low
        or low in _HOP_BY_HOP
        or low in _SPOOFABLE
        or low.startswith(_SPOOFABLE_PREFIXES)
        or _is_credential(low)
    )


def _is_credential(low: str) -> bool:
    """Whether a lower-case field name, by the words in it, carries a credential or a session."""
    return low != "idempotency-key" and (
        any(word in low for word in _CREDENTIAL_WORDS) or low.startswith("x-auth") or low.endswith(("token", "key"))
    )


@lru_cache(maxsize=1024)
def _crosses_back(name: str) -> bool:
    low = name.lower()
    return low not in _HOP_BY_HOP and low not in _NOT_FOR_CALLERS


def request_headers(
    inbound: Iterable[tuple[str, str]], secret: Secret, *, traced: bool = False
) -> list[tuple[str, str]]:
    """The fields of the request that goes upstream, without ``Host`` and framing, with the key attached last.

    Order and repeats are kept, and so is every byte of a value. Where it is ``traced``, those of W3C Trace Context are
    left out: each time that it is sent has its own.
    """
    kept = _crossing(inbound, _crosses_upstream)
    if traced:
        kept = [(name, value) for name, value in kept if name.lower() not in _TRACE]
    return [*kept, ("Via", VIA), ("Authorization", f"Bearer {secret.reveal()}")]


def check_request_headers(inbound: Iterable[tuple[str, str]]) -> None:
    """Refuse what no rule may repair: a request that has passed this gateway before (RFC 9110 section 7.6.3).

    Raises `Refused` ``loop_detected``.
    """
    for name, value in inbound:
        if name.lower() == "via" and PSEUDONYM in value.lower():
            raise Refused(
                Code.LOOP_DETECTED,
                Reason.LOOP,
                "This request has already passed this gateway.",
                note="the upstream leads back to a gateway; correct `upstream.url`",
            )


def response_headers(inbound: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of the answer that goes back to the caller, without framing. Order, repeats and bytes are kept."""
    return _crossing(inbound, _crosses_back)


def _crossing(inbound: Iterable[tuple[str, str]], crosses: Callable[[str], bool]) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    named: set[str] = set()
    for field in inbound:
        if crosses(field[0]):
            kept.append(field)
        elif field[0].lower() == "connection":
            named.update(token.strip().lower() for token in field[1].split(","))
    if named:
        return [(name, value) for name, value in kept if name.lower() not in named]
    return kept
