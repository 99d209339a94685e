"""The fields of a head, walked once by the rules of `gateway.core.field_rules`. Heads are rebuilt, never copied."""

from collections.abc import Collection, Iterable
from typing import Final

from gateway.core.field_rules import Rule, Rules
from gateway.core.refusal import PSEUDONYM, Code, Reason, Refused
from gateway.core.secret import Secret

VIA: Final = f"1.1 {PSEUDONYM}"
# An attribute of an enumeration is looked up far more slowly than a global.
_KEEP, _READ, _READ_AND_KEEP, _REFUSE = Rule.KEEP, Rule.READ, Rule.READ_AND_KEEP, Rule.REFUSE


class Fields:
    """A head's fields after the one walk over them.

    ``lines`` are those that cross, as ``name: value`` without line breaks, in their order. ``read`` are the values of
    those that the gateway reads, by lower-case name. ``refused`` are the names of those that are refused.
    """

    __slots__ = ("lines", "read", "refused")

    def __init__(self, lines: list[bytes], read: dict[bytes, list[bytes]], refused: list[bytes] | None) -> None:
        self.lines = lines
        self.read = read
        self.refused = refused


def walk(lines: Iterable[bytes], rules: Rules) -> Fields:
    """Go over a head's fields, each ``name: value``, once. What ``Connection`` names stays behind (RFC 9110 section
    7.6.1).
    """
    kept: list[bytes] = []
    read: dict[bytes, list[bytes]] = {}
    refused: list[bytes] | None = None
    for line in lines:
        name, _, value = line.partition(b": ")
        rule, low = rules[name]
        if rule is _KEEP:
            kept.append(line)
            continue
        if rule is _READ_AND_KEEP:
            kept.append(line)
        elif rule is not _READ:
            if rule is _REFUSE:
                refused = refused or []
                refused.append(name)
            continue
        if low in read:
            read[low].append(value)
        else:
            read[low] = [value]
    if b"connection" in read and (named := tokens(read[b"connection"]) - _CONNECTION_OPTIONS):
        kept = [line for line in kept if line.partition(b":")[0].lower() not in named]
    return Fields(kept, read, refused)


_CONNECTION_OPTIONS: Final = frozenset({b"close", b"keep-alive", b""})


def tokens(values: Collection[bytes]) -> set[bytes]:
    """The members of a list field, in lower case (of ASCII letters alone)."""
    return {token.strip(b" \t").lower() for value in values for token in value.split(b",")}


def upstream_fields(secret: Secret) -> list[tuple[str, str]]:
    """The fields that every request to the upstream has, sent by any client: the gateway's name and the key."""
    return [("Via", VIA), ("Authorization", f"Bearer {secret.reveal()}")]


def upstream_lines(secret: Secret) -> bytes:
    """`upstream_fields` as the lines of a head, with their line breaks; made once for each secret."""
    if not secret.lines:
        secret.lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in upstream_fields(secret))
    return secret.lines


def check_via(values: Iterable[bytes]) -> None:
    """Refuse a request that has passed this gateway before (RFC 9110 section 7.6.3).

    Raises `Refused` ``loop_detected``.
    """
    if any(PSEUDONYM.encode() in value.lower() for value in values):
        raise Refused(
            Code.LOOP_DETECTED,
            Reason.LOOP,
            "This request has already passed this gateway.",
            note="the upstream leads back to a gateway",
        )
