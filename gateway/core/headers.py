"""The fields of a head, walked once by the rules of `gateway.core.field_rules`. Heads are rebuilt, never copied."""

from collections.abc import Collection, Iterable
from typing import Final

from gateway.core.field_rules import Rule, Rules
from gateway.core.refusal import PSEUDONYM, Code, Reason, Refused
from gateway.core.secret import Secret

VIA: Final = f"1.1 {PSEUDONYM}"


class Fields:
    """A head's fields after the one walk over them.

    ``lines`` are those that cross, as ``name: value`` without line breaks, in their order. ``read`` are the values of
    those that the gateway reads, by lower-case name. ``refused`` are the names of those that are refused. ``size`` is
    what the fields take in a head, in bytes.
    """

    __slots__ = ("lines", "read", "refused", "size")

    def __init__(
        self, lines: list[bytes], read: dict[bytes, list[bytes]], refused: list[bytes] | None, size: int
    ) -> None:
        self.lines = lines
        self.read = read
        self.refused = refused
        self.size = size


def walk(fields: Iterable[tuple[bytes, bytes]], rules: Rules) -> Fields:
    """Go over a head's fields once. What ``Connection`` names stays behind (RFC 9110 section 7.6.1)."""
    lines: list[bytes] = []
    read: dict[bytes, list[bytes]] = {}
    refused: list[bytes] | None = None
    size = 0
    keep, drop, refuse, read_and_keep = Rule.KEEP, Rule.DROP, Rule.REFUSE, Rule.READ_AND_KEEP
    for name, value in fields:
        size += len(name) + len(value) + 4
        rule = rules[name]
        if rule is drop:
            continue
        if rule is refuse:
            refused = refused or []
            refused.append(name)
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
    return Fields(lines, read, refused, size)


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
